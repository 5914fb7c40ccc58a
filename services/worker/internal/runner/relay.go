package runner

import (
	"context"
	"encoding/json"

	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/services/worker/internal/codex"
)

// maxEvent is the largest notification that is stored as it is. Codex itself
// caps a command's output at about 1 MiB; what is larger is an image or a
// fault, and its place in the log says how large it was.
const maxEvent = 16 << 20

// relay writes one notification into the event log. It is called in order,
// from one goroutine, and may block: the log being full is what slows Codex's
// reader down.
func (u *run) relay(ctx context.Context, n codex.Notification) {
	u.heard()
	if !n.Relay {
		return
	}
	e := eventlog.Entry{Type: eventlog.TypeCodex, Time: u.Now()}
	params := n.Params
	if len(params) > maxEvent {
		params = omitted(n)
	}
	if n.Kind == codex.KindDelta {
		e.Delta = &eventlog.Delta{Method: n.Method, Item: n.ItemID, Params: []json.RawMessage{params}}
	} else {
		e.Data = eventlog.CodexData(n.Method, params)
	}
	if err := u.held.Log.Append(ctx, e); err != nil {
		// Fenced, or the run is over. Either way nothing more may happen.
		u.stop(errLost)
		u.kill()
	}
}

// omitted stands in for params too large to keep.
func omitted(n codex.Notification) json.RawMessage {
	b, err := json.Marshal(struct {
		ThreadID     string `json:"threadId,omitempty"` //nolint:tagliatelle // Codex's own names
		TurnID       string `json:"turnId,omitempty"`   //nolint:tagliatelle // Codex's own names
		ItemID       string `json:"itemId,omitempty"`   //nolint:tagliatelle // Codex's own names
		OmittedBytes int    `json:"omitted_bytes"`
	}{n.ThreadID, n.TurnID, n.ItemID, len(n.Params)})
	if err != nil {
		return json.RawMessage("null") // strings and an int always encode
	}
	return b
}

// MergeDeltas joins the params of deltas of one item pairwise, halves first, so
// that n deltas cost n log n and not n².
func MergeDeltas(params []json.RawMessage) []json.RawMessage {
	if len(params) < 2 {
		return params
	}
	left := MergeDeltas(params[:len(params)/2])
	right := MergeDeltas(params[len(params)/2:])
	joined, ok := codex.MergeDelta(left[len(left)-1], right[0])
	if !ok {
		return append(append(make([]json.RawMessage, 0, len(left)+len(right)), left...), right...)
	}
	out := make([]json.RawMessage, 0, len(left)+len(right)-1)
	out = append(out, left[:len(left)-1]...)
	out = append(out, joined)
	return append(out, right[1:]...)
}
