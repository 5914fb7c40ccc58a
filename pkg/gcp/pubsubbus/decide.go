package pubsubbus

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"github.com/cloudevents/sdk-go/v2/event"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/gcp/cebinding"
)

// message is a delivered message, pulled or pushed.
type message struct {
	cebinding.Message

	id          string
	publishedAt time.Time
	// attempt is 0 where Pub/Sub does not count: on subscriptions without a
	// dead letter policy.
	attempt int
}

// decide hands a message to the receiver's handler and reports whether it is
// done with. What no handler can ever read goes to the dead letter, and an event
// of another lane is dropped: Pub/Sub filters, its emulator does not.
func (r *receiver) decide(ctx context.Context, m *message) (ack bool) {
	ev, err := cebinding.Decode(m.Message)
	if err != nil {
		return r.poison(ctx, m, err)
	}
	if lane, _ := ev.Extensions()[events.ExtLane].(string); r.sub.Lane != "" && lane != r.sub.Lane {
		return true
	}
	out := r.handler(ctx, &bus.Delivery{Event: ev, Attempt: max(m.attempt, 1), PublishedAt: m.publishedAt})
	return out.Verdict == bus.Ack
}

// maxPoisonAttributes leaves room for the two that say why.
const maxPoisonAttributes = 98

// poison moves a message that carries no event to the subscription's dead
// letter, as it is, with why and from where beside its attributes. On a dead
// letter itself it stays, to be delivered again and again with the longest
// backoff: nobody else keeps it.
func (r *receiver) poison(ctx context.Context, m *message, why error) (ack bool) {
	attrs := []any{slog.String("subscription", r.sub.Name), slog.String("message_id", m.id), slog.String("error", kindOf(why).Error())}
	if r.sub.DeadLetter == "" {
		r.d.log.WarnContext(ctx, "bus message is no event", attrs...)
		return !r.d.isDeadLetter(r.sub.Topic)
	}
	dead := &pubsub.Message{Data: m.Data, Attributes: make(map[string]string, len(m.Attributes)+2)}
	for _, key := range slices.Sorted(maps.Keys(m.Attributes)) {
		if len(dead.Attributes) < maxPoisonAttributes {
			dead.Attributes[key] = m.Attributes[key]
		}
	}
	dead.Attributes[bus.ExtDLQReason] = poisonReason(why)
	dead.Attributes[bus.ExtDLQSubscription] = r.sub.Name
	// The receiver may be stopping; the message is still ours to move.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := r.d.send(ctx, r.sub.DeadLetter, dead); err != nil {
		r.d.log.ErrorContext(ctx, "bus dead letter not taken", append(attrs, slog.String("dead_letter_error", err.Error()))...)
		return false
	}
	r.d.log.WarnContext(ctx, "bus message is no event, moved to the dead letter", attrs...)
	return true
}

// kindOf is the class of a decoding error: the error itself quotes the message,
// which logs must not.
func kindOf(err error) error {
	for _, kind := range []error{cebinding.ErrNotCloudEvent, cebinding.ErrBatch, cebinding.ErrSpecVersion} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return cebinding.ErrMalformed
}

// poisonReason is why as an attribute value, cleaned and cut as that of a
// rejected event.
func poisonReason(why error) string {
	ev := event.New()
	dead := bus.DeadLetter(&ev, "", why.Error())
	reason, _ := dead.Extensions()[bus.ExtDLQReason].(string)
	return reason
}
