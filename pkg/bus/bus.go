package bus

import (
	"context"
	"errors"
	"time"

	"codexgateway.dev/events"
)

// Errors a driver returns, wrapped.
var (
	// ErrUnknownTopic means the topic or subscription is not declared in
	// codexgateway.dev/events.
	ErrUnknownTopic = errors.New("bus: unknown topic or subscription")
	// ErrTooLarge means the event is over MaxMessageBytes.
	ErrTooLarge = errors.New("bus: message too large")
	// ErrFull means a shared subscription of the topic holds all it may; the
	// message was not delivered there. Documents repair it.
	ErrFull = errors.New("bus: backlog full")
	// ErrInvalid means the caller asked for something no bus can do, such as an
	// event that is no CloudEvent: a programming error.
	ErrInvalid = errors.New("bus: invalid request")
	// ErrClosed means the bus was closed.
	ErrClosed = errors.New("bus: closed")
	// ErrUnavailable means the bus could not take the message now.
	ErrUnavailable = errors.New("bus: unavailable")
	// ErrLeaseLost is the cause ([context.Cause]) of a handler's context that
	// ended because the message now belongs to somebody else.
	ErrLeaseLost = errors.New("bus: lease lost")
)

// MaxMessageBytes is the most one event's data may have (Pub/Sub: 10 MB with attributes).
const MaxMessageBytes = 9 << 20

// Verdict is what a handler decided about a delivery.
type Verdict int

const (
	// Ack means done, never deliver again. The zero value is deliberately not Ack.
	Ack Verdict = iota + 1
	// Retry means deliver again after the subscription's backoff.
	Retry
	// Reject means nobody can ever handle this; to the dead letter with the reason.
	Reject
)

// Outcome is a handler's answer.
type Outcome struct {
	Verdict Verdict
	// Reason says why a message was rejected; it travels with the dead letter.
	Reason string
}

// Delivery is one message in a consumer's hands. The driver extends its ack
// deadline while the handler runs, up to the subscription's MaxExtension.
type Delivery struct {
	Event events.Event
	// Attempt counts deliveries from 1; on platforms that do not count it is 1.
	Attempt int
	// PublishedAt is when the bus took the message.
	PublishedAt time.Time
}

// Handler handles one delivery. Its context ends when the lease of the message
// is lost or the receiver stops; the outcome of a handler whose lease was lost
// is ignored. A receiver that stops no longer extends: a handler that does not
// answer within the AckDeadline after that has lost its lease.
//
// Other consumers see the same data bytes: a handler never changes them.
type Handler func(ctx context.Context, d *Delivery) Outcome

// ReceiveOptions bound a receiver.
type ReceiveOptions struct {
	// MaxOutstanding is how many deliveries this receiver handles at once; the
	// bus gives it no more than that, so that the rest go to others. At least 1.
	MaxOutstanding int
	// Ready, when not nil, is closed once the subscription hears: a message
	// published after that reaches this receiver.
	Ready chan<- struct{}
}

// Driver is what a platform implements: at least once, no order promised.
type Driver interface {
	// Publish returns when the bus has taken the event. The topic is a declared
	// one or a dead letter ([WithDeadLetters]). The driver keeps ev's data bytes
	// without copying: nobody may change them afterwards.
	Publish(ctx context.Context, topic string, ev events.Event) error
	// Receive opens the subscription (declared in events.Subscriptions) and
	// calls h until ctx ends, then waits for running handlers and returns nil.
	// Messages not yet handed to h are given back at once. Over a [Bus] h answers
	// only Ack or Retry; anything but Ack is a retry to a driver. A receiver that ends
	// because the bus was closed returns ErrClosed.
	Receive(ctx context.Context, subscription string, opt ReceiveOptions, h Handler) error
	// Ping reports whether the bus can serve.
	Ping(ctx context.Context) error
	Close() error
}
