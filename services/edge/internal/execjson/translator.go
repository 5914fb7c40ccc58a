package execjson

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"codexgateway.dev/pkg/eventlog"
)

// maxOpen bounds the items that have begun and are known by their number. An
// item beyond it gets a new number when it is complete, as one that codex exec
// never saw begin.
const maxOpen = 4096

// Sentences for ends that Codex has none for.
const (
	textCancelled = "The job was cancelled."
	textTimedOut  = "The job ran out of time."
	textFailed    = "turn failed" // codex exec's own
)

// Translator makes lines of the events of one job, given in order from the
// first. Its methods append to b and return it, like append. It is used by one
// goroutine; the zero value is ready.
type Translator struct {
	begun bool // turn.started is written
	done  bool

	// next is the number of the next item, open the ids of those that have begun,
	// by the id Codex gave them.
	next int
	open map[string]string
	// todo is the id of the to-do list that is kept, steps what is on it.
	todo  string
	steps []todo

	// thread is the one the turn runs on; what the threads of sub-agents say is
	// not shown. It is empty until the turn begins.
	thread string
	usage  usage
	// failed is why Codex says the attempt's turn failed, said the last error line.
	failed, said string
}

// Begin appends the first line: the thread, which here is the conversation.
func (t *Translator) Begin(b []byte, conversationID string) []byte {
	return t.line(b, line{Type: "thread.started", ThreadID: conversationID})
}

// Done reports whether the last line is written.
func (t *Translator) Done() bool { return t.done }

// Event appends the lines that one stored event becomes; for most there is
// none. What cannot be read, as a newer version may have written it, is none.
func (t *Translator) Event(b []byte, raw json.RawMessage) []byte {
	var e event
	if t.done || json.Unmarshal(raw, &e) != nil {
		return b
	}
	switch e.Type {
	case eventlog.TypeCodex:
		return t.codex(b, e.Data)
	case eventlog.TypeRetrying:
		return t.retrying(b, e.Data)
	case eventlog.TypeCompleted:
		b = t.closeTodo(t.begin(b))
		t.done = true
		return t.line(b, line{Type: "turn.completed", Usage: &t.usage})
	case eventlog.TypeFailed:
		return t.fail(b, t.reason(e.Data))
	case eventlog.TypeCancelled:
		return t.fail(b, textCancelled)
	case eventlog.TypeTimedOut:
		return t.fail(b, textTimedOut)
	}
	return b
}

// begin appends turn.started where it is missing: a job may end, or go to
// another worker, before or after Codex itself says it.
func (t *Translator) begin(b []byte) []byte {
	if t.begun {
		return b
	}
	t.begun = true
	return t.line(b, line{Type: "turn.started"})
}

// fail ends the turn as failed. The reason is a line of its own before, unless
// the last error line said the same, as Codex does of its own failures.
func (t *Translator) fail(b []byte, reason string) []byte {
	b = t.closeTodo(t.begin(b))
	if t.said != reason {
		b = t.error(b, reason)
	}
	t.done = true
	return t.line(b, line{Type: "turn.failed", Error: &failure{reason}})
}

// reason is why the job failed: in Codex's words if it failed in its turn, else
// in the gateway's, with the code.
func (t *Translator) reason(data json.RawMessage) string {
	if t.failed != "" {
		return t.failed
	}
	var d struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(data, &d) != nil || d.Error.Message == "" {
		return textFailed
	}
	return detailed(d.Error.Message, d.Error.Code)
}

// retrying tells that the attempt is over and forgets it: the next begins with
// a turn of its own, and whatever was open will never be completed.
func (t *Translator) retrying(b []byte, data json.RawMessage) []byte {
	b = t.closeTodo(b)
	t.thread, t.failed, t.said = "", "", ""
	clear(t.open)
	var d struct {
		NextAttempt int    `json:"next_attempt"`
		Reason      string `json:"reason"`
	}
	_ = json.Unmarshal(data, &d) // what cannot be read is left out of the sentence
	return t.notice(b, detailed(fmt.Sprintf("The job starts over, attempt %d", d.NextAttempt), d.Reason))
}

// codex is Event for a notification of Codex.
func (t *Translator) codex(b []byte, data json.RawMessage) []byte {
	var n notification
	if json.Unmarshal(data, &n) != nil || strings.HasSuffix(n.Method, "elta") {
		return b // deltas are most of a log, and never shown
	}
	var p params
	_ = json.Unmarshal(n.Params, &p) // a member of another type, of a newer Codex, is left out
	if p.ThreadID != "" && t.thread != "" && p.ThreadID != t.thread {
		return b
	}
	switch n.Method {
	case "turn/started":
		t.thread = p.ThreadID
		return t.begin(b)
	case "item/started":
		return t.itemStarted(b, p.Item)
	case "item/completed":
		if p.Omitted > 0 {
			return t.notice(b, fmt.Sprintf("An item of %d bytes is too large to be kept.", p.Omitted))
		}
		return t.itemCompleted(b, p.Item)
	case "turn/plan/updated":
		return t.plan(b, p.Plan)
	case "thread/tokenUsage/updated":
		if p.TokenUsage != nil {
			t.usage = usage(p.TokenUsage.Total)
		}
	case "error":
		if p.Error != nil {
			return t.error(b, p.Error.text())
		}
	case "warning":
		return t.notice(b, p.Message)
	case "configWarning", "deprecationNotice":
		return t.notice(b, detailed(p.Summary, p.Details))
	case "model/rerouted":
		return t.notice(b, fmt.Sprintf("model rerouted: %s -> %s (%s)", p.FromModel, p.ToModel, pascal(p.Reason)))
	case "turn/completed":
		return t.turnCompleted(b, p.Turn)
	}
	return b
}

// turnCompleted takes the end of Codex's turn. The job's own end, which may be
// another one, comes later.
func (t *Translator) turnCompleted(b []byte, end *turn) []byte {
	b = t.closeTodo(b)
	if end == nil {
		return b
	}
	for i := range end.Items { // what is complete only here
		if _, open := t.open[end.Items[i].ID]; open {
			b = t.itemCompleted(b, &end.Items[i])
		}
	}
	if end.Status == "failed" {
		if t.failed = t.said; end.Error != nil {
			t.failed = end.Error.text()
		}
	}
	return b
}

func (t *Translator) itemStarted(b []byte, in *threadItem) []byte {
	if in == nil || in.Type == typeMessage || in.Type == typeReasoning {
		return b
	}
	it := shown(in)
	if it == nil {
		return b
	}
	id, known := t.open[in.ID]
	if !known {
		id = t.number()
		if t.open == nil {
			t.open = make(map[string]string)
		}
		if len(t.open) < maxOpen {
			t.open[in.ID] = id
		}
	}
	it.ID = id
	return t.line(b, line{Type: "item.started", Item: it})
}

func (t *Translator) itemCompleted(b []byte, in *threadItem) []byte {
	if in == nil {
		return b
	}
	it := shown(in)
	if it == nil {
		return b
	}
	id, known := t.open[in.ID]
	if !known || in.Type == typeMessage || in.Type == typeReasoning {
		id = t.number()
	} else {
		delete(t.open, in.ID)
	}
	it.ID = id
	return t.line(b, line{Type: "item.completed", Item: it})
}

// plan shows the to-do list: one item, from its first version to the turn's end.
func (t *Translator) plan(b []byte, plan []planStep) []byte {
	t.steps = make([]todo, len(plan))
	for i, s := range plan {
		t.steps[i] = todo{Text: s.Step, Completed: s.Status == "completed"}
	}
	if t.todo == "" {
		t.todo = t.number()
		return t.list(b, "item.started")
	}
	return t.list(b, "item.updated")
}

// closeTodo completes the to-do list, if there is one.
func (t *Translator) closeTodo(b []byte) []byte {
	if t.todo == "" {
		return b
	}
	b = t.list(b, "item.completed")
	t.todo, t.steps = "", nil
	return b
}

func (t *Translator) list(b []byte, kind string) []byte {
	return t.line(b, line{Type: kind, Item: &item{ID: t.todo, Type: "todo_list", Members: todoItem{t.steps}}})
}

// notice appends what does not end the turn.
func (t *Translator) notice(b []byte, text string) []byte {
	return t.line(b, line{Type: "item.completed", Item: &item{ID: t.number(), Type: "error", Members: errorItem{text}}})
}

// error appends an error line.
func (t *Translator) error(b []byte, text string) []byte {
	t.said = text
	return t.line(b, line{Type: "error", Message: &text})
}

// number is the id of the next item.
func (t *Translator) number() string {
	id := "item_" + strconv.Itoa(t.next)
	t.next++
	return id
}

// line appends one line.
func (*Translator) line(b []byte, l line) []byte {
	text, err := encode(l)
	if err != nil { // raw JSON in it was read from valid JSON, the rest always encodes
		return b
	}
	return append(append(b, text...), '\n')
}

// pascal is a word of the app server's as Rust prints it: highRisk is HighRisk.
func pascal(word string) string {
	first, size := utf8.DecodeRuneInString(word)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + word[size:]
}
