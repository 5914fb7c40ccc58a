package eventlog

import (
	"encoding/json"
	"strconv"
	"time"
)

// TimeFormat is how the API writes times: RFC 3339, milliseconds, UTC.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// Types of gateway events. Everything Codex itself says has the type Codex.
const (
	TypeQueued    = "job.queued"
	TypeStarted   = "job.started"
	TypeWaiting   = "job.waiting"
	TypeResumed   = "job.resumed"
	TypeRetrying  = "job.retrying"
	TypeCompleted = "job.completed"
	TypeFailed    = "job.failed"
	TypeCancelled = "job.cancelled"
	TypeTimedOut  = "job.timed_out"
	// TypeCodex has data {"method","params"}: Codex's own notification, unchanged.
	TypeCodex = "codex"
)

// Terminal reports whether an event of this type ends its log.
func Terminal(eventType string) bool {
	switch eventType {
	case TypeCompleted, TypeFailed, TypeCancelled, TypeTimedOut:
		return true
	default:
		return false
	}
}

// Entry is an event on its way into the log: it has no seq yet.
type Entry struct {
	Type string
	// Data is the event's data: one line of JSON.
	Data json.RawMessage
	Time time.Time
	// Delta is set on a Codex notification that only adds text to an open item.
	// Deltas of one item may be merged in a batch and do not hurry a flush.
	Delta *Delta
}

// Delta is a text delta. Data of its entry is unused; the parts become one
// {"method","params"} when the batch is encoded.
type Delta struct {
	Method string
	// Item identifies the open item; only deltas of one item are merged.
	Item string
	// Params are the notification's params, one per merged delta.
	Params []json.RawMessage
}

// MergeFunc joins the params of consecutive deltas of one item, to one params
// object where it can. What it cannot join stays apart, in order.
type MergeFunc func(params []json.RawMessage) []json.RawMessage

// datas is the data of each event an entry becomes: one, but for deltas that
// do not merge.
func (e *Entry) datas(merge MergeFunc) []json.RawMessage {
	if e.Delta == nil {
		return []json.RawMessage{e.Data}
	}
	params := e.Delta.Params
	if len(params) > 1 {
		params = merge(params)
	}
	out := make([]json.RawMessage, len(params))
	for i, p := range params {
		out[i] = CodexData(e.Delta.Method, p)
	}
	return out
}

// encode writes one event as a line of JSON. Field order is the contract's.
func encode(job string, seq int64, attempt int, e *Entry, data json.RawMessage) json.RawMessage {
	if len(data) == 0 {
		data = json.RawMessage("{}")
	}
	b := make([]byte, 0, len(data)+len(job)+128)
	b = append(b, `{"job_id":"`...)
	b = append(b, job...)
	b = append(b, `","seq":`...)
	b = strconv.AppendInt(b, seq, 10)
	b = append(b, `,"attempt":`...)
	b = strconv.AppendInt(b, int64(attempt), 10)
	b = append(b, `,"time":"`...)
	b = e.Time.UTC().AppendFormat(b, TimeFormat)
	b = append(b, `","type":"`...)
	b = append(b, e.Type...)
	b = append(b, `","data":`...)
	b = append(b, data...)
	return append(b, '}')
}

// CodexData is the data of a codex event.
func CodexData(method string, params json.RawMessage) json.RawMessage {
	if len(params) == 0 {
		params = json.RawMessage("null")
	}
	name, err := json.Marshal(method)
	if err != nil {
		name = []byte(`""`) // a Go string always marshals
	}
	b := make([]byte, 0, len(name)+len(params)+24)
	b = append(b, `{"method":`...)
	b = append(b, name...)
	b = append(b, `,"params":`...)
	b = append(b, params...)
	return append(b, '}')
}
