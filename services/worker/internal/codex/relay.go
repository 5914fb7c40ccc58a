package codex

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Notification is one message of Codex that wants no answer.
type Notification struct {
	Method string
	// Params are the bytes Codex wrote; the receiver owns them.
	Params json.RawMessage
	// ThreadID, TurnID and ItemID are what the params say, "" if they do not.
	ThreadID string
	TurnID   string
	ItemID   string
	// EmittedAtMs is Codex's clock in Unix milliseconds.
	EmittedAtMs int64
	Kind        Kind
	// Relay is false for what does not belong into the job's event log: kinds
	// that are KindPrivate, and a turn/diff/updated equal to the one before.
	Relay bool

	rootTurnID string
}

func newNotification(m *message) Notification {
	n := Notification{Method: m.Method, Params: json.RawMessage(m.Params), EmittedAtMs: m.EmittedAtMs, Kind: Classify(m.Method)}
	if n.Params == nil {
		n.Params = json.RawMessage("{}")
	}
	a := addressOf(n.Params)
	n.ThreadID, n.TurnID, n.ItemID, n.rootTurnID = a.ThreadID, a.TurnID, a.ItemID, a.Turn.RootTurnID
	n.Relay = n.Kind != KindPrivate
	return n
}

// Kind says how the event log treats a notification.
type Kind int

// The kinds of notifications.
const (
	// KindItem is stored and shown at once. Unknown methods are of this kind, so
	// that a new Codex needs no new gateway.
	KindItem Kind = iota
	// KindDelta is a piece of text that MergeDelta joins with the next.
	KindDelta
	// KindPrivate concerns the process, the account or the machine and is not
	// stored.
	KindPrivate
)

// Classify returns the kind of a notification by its method. It is pure.
func Classify(method string) Kind {
	switch method {
	case "item/agentMessage/delta",
		"item/commandExecution/outputDelta",
		"item/fileChange/outputDelta",
		"item/plan/delta",
		"item/reasoning/summaryTextDelta",
		"item/reasoning/textDelta":
		return KindDelta
	}
	scope, _, _ := strings.Cut(method, "/")
	switch scope {
	case "account", "remoteControl", "app", "skills", "fs", "project", "fuzzyFileSearch",
		"externalAgentConfig", "windows", "windowsSandbox", "command", "process":
		return KindPrivate
	}
	return KindItem
}

// MergeDelta joins the params of two consecutive notifications of one delta
// method: the first one's with b's text behind its own. It reports false, and
// the two must stay apart, unless all members but "delta" are the same: another
// item, another summaryIndex, or a member that only one of them has. It is pure
// and costs one pass over both.
func MergeDelta(a, b json.RawMessage) (json.RawMessage, bool) {
	da, db := jsontext.NewDecoder(bytes.NewBuffer(a)), jsontext.NewDecoder(bytes.NewBuffer(b))
	if !bothOpen(da, db) {
		return nil, false
	}
	var textEnd int64 // where a's delta ends, its closing quote included
	var addition []byte
	for {
		if da.PeekKind() != db.PeekKind() {
			return nil, false
		}
		if da.PeekKind() == '}' {
			break
		}
		name, value, ok := sameMember(da, db)
		if !ok {
			return nil, false
		}
		if name == "delta" {
			if textEnd != 0 {
				return nil, false
			}
			textEnd, addition = da.InputOffset(), value
		}
	}
	if !bothEnd(da, db) || textEnd == 0 {
		return nil, false
	}
	// Two JSON strings are joined by dropping the quotes between them: escapes
	// are complete in each, and half a surrogate pair is not a valid string here.
	out := make([]byte, 0, len(a)+len(addition))
	out = append(out, a[:textEnd-1]...)
	out = append(out, addition...)
	return append(out, a[textEnd-1:]...), true
}

func bothOpen(da, db *jsontext.Decoder) bool {
	for _, d := range []*jsontext.Decoder{da, db} {
		if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
			return false
		}
	}
	return true
}

// bothEnd reads the closing braces and makes sure that nothing follows.
func bothEnd(da, db *jsontext.Decoder) bool {
	for _, d := range []*jsontext.Decoder{da, db} {
		if _, err := d.ReadToken(); err != nil {
			return false
		}
		if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
			return false
		}
	}
	return true
}

// sameMember reads one member of each object and reports whether they may be
// merged: same name, and the same value or two delta strings. value is b's
// string without its quotes.
func sameMember(da, db *jsontext.Decoder) (name string, value []byte, ok bool) {
	na, errA := da.ReadValue()
	if errA != nil {
		return "", nil, false
	}
	isDelta := string(na) == `"delta"`
	nb, errB := db.ReadValue()
	if errB != nil || !bytes.Equal(na, nb) {
		return "", nil, false
	}
	va, errA := da.ReadValue()
	if errA != nil {
		return "", nil, false
	}
	vb, errB := db.ReadValue()
	if errB != nil {
		return "", nil, false
	}
	if !isDelta {
		return "", nil, bytes.Equal(va, vb)
	}
	if va.Kind() != '"' || vb.Kind() != '"' {
		return "", nil, false
	}
	return "delta", vb[1 : len(vb)-1], true
}
