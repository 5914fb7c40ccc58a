package wire

import (
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
)

// Paths of the host. Each takes a POST with one gob value and answers one, but
// for PathReceive, whose answer is a stream of [Frame].
const (
	PathGet     = "/docs/get"
	PathQuery   = "/docs/query"
	PathCommit  = "/docs/commit"
	PathPublish = "/bus/publish"
	PathReceive = "/bus/receive"
	PathSettle  = "/bus/settle"
	PathStop    = "/bus/stop"
	PathPing    = "/ping"
	PathFaults  = "/faults"
)

// GetReply answers a docstore.Key.
type GetReply struct {
	Doc docstore.Doc
	Err *Error
}

// QueryReply answers a docstore.Query.
type QueryReply struct {
	Page docstore.Page
	Err  *Error
}

// CommitRequest is the writes of one commit.
type CommitRequest struct{ Writes []docstore.Write }

// CommitReply has a version for each write.
type CommitReply struct {
	Versions []docstore.Version
	Err      *Error
}

// PublishRequest is one event for a topic.
type PublishRequest struct {
	Topic string
	Event Event
}

// Reply answers what has no result.
type Reply struct{ Err *Error }

// ReceiveRequest opens a subscription.
type ReceiveRequest struct {
	// Receiver is chosen by the caller and unique; PathStop names it.
	Receiver       string
	Subscription   string
	MaxOutstanding int
}

// StopRequest ends a receiver in an orderly way: it gets nothing more, and its
// stream ends when what it has is settled.
type StopRequest struct{ Receiver string }

// Frame is one piece of a receiver's stream: exactly one field is set.
type Frame struct {
	// Ready says that the subscription hears.
	Ready bool
	// Err says that it cannot be opened.
	Err *Error
	// Delivery is one message.
	Delivery *Delivery
	// Lost names a delivery whose lease the bus has ended.
	Lost uint64
}

// Delivery is one message in a receiver's hands.
type Delivery struct {
	ID          uint64
	Event       Event
	Attempt     int
	PublishedAt time.Time
}

// SettleRequest answers a delivery.
type SettleRequest struct {
	Receiver string
	ID       uint64
	Verdict  bus.Verdict
}

// Event is a CloudEvent with its data bytes as they are.
type Event struct {
	ID, Source, Type, Subject, Schema, ContentType string

	Time       time.Time
	Extensions map[string]string
	Data       []byte
}

// FromEvent takes an event apart. Extensions of the gateway's events are strings.
func FromEvent(ev *events.Event) Event {
	out := Event{
		ID: ev.ID(), Source: ev.Source(), Type: ev.Type(), Subject: ev.Subject(), Schema: ev.DataSchema(),
		ContentType: ev.DataContentType(), Time: ev.Time(), Data: ev.DataEncoded, Extensions: map[string]string{},
	}
	for k, v := range ev.Extensions() {
		if s, ok := v.(string); ok {
			out.Extensions[k] = s
		}
	}
	return out
}

// Event puts it together again.
func (e *Event) Event() events.Event {
	ev := event.New()
	ev.SetID(e.ID)
	ev.SetSource(e.Source)
	ev.SetType(e.Type)
	if e.Subject != "" {
		ev.SetSubject(e.Subject)
	}
	if e.Schema != "" {
		ev.SetDataSchema(e.Schema)
	}
	if e.ContentType != "" {
		ev.SetDataContentType(e.ContentType)
	}
	if !e.Time.IsZero() {
		ev.SetTime(e.Time)
	}
	for k, v := range e.Extensions {
		ev.SetExtension(k, v)
	}
	ev.DataEncoded = e.Data
	return ev
}

// Faults is what the host does wrong on purpose. Probabilities are 0 to 1. It
// travels as JSON too: in the host's arguments.
type Faults struct {
	// Lose, Duplicate and Delay are for each published message. A delayed one
	// comes up to MaxDelay later, and so behind those that were published after it.
	Lose      float64       `json:"lose,omitempty"`
	Duplicate float64       `json:"duplicate,omitempty"`
	Delay     float64       `json:"delay,omitempty"`
	MaxDelay  time.Duration `json:"max_delay,omitempty"`
	// Slow is the most that a call of the documents waits.
	Slow time.Duration `json:"slow,omitempty"`
	// Refuse fails a commit before it is made, Unanswered after it was made: the
	// caller cannot tell which. NoRead fails a read.
	Refuse     float64 `json:"refuse,omitempty"`
	Unanswered float64 `json:"unanswered,omitempty"`
	NoRead     float64 `json:"no_read,omitempty"`
	// Full refuses every commit as a full disk does.
	Full bool `json:"full,omitempty"`
}
