package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"codexgateway.dev/events"
)

// Receive opens the subscription and calls h for its messages until ctx ends,
// then waits for running handlers and returns nil. On top of the driver:
//
//   - a handler that panics is logged and its message retried;
//   - a rejected message goes to the subscription's dead letter with its reason
//     and is then acked; when the dead letter cannot take it, it is retried.
//     Without a dead letter it is logged and acked;
//   - a verdict that is none of the three is logged and retried;
//   - each delivery is a span of its own, linked to the one that published.
//
// Decoding the event, and rejecting what cannot be decoded, is the handler's.
func (b *Bus) Receive(ctx context.Context, subscription string, opt ReceiveOptions, h Handler) error {
	if opt.MaxOutstanding < 1 {
		return fmt.Errorf("bus: receive from %s: %w: MaxOutstanding is %d", subscription, ErrInvalid, opt.MaxOutstanding)
	}
	err := b.driver.Receive(ctx, subscription, opt, func(ctx context.Context, d *Delivery) Outcome {
		return b.deliver(ctx, subscription, d, h)
	})
	if err != nil {
		return fmt.Errorf("bus: receive from %s: %w", subscription, err)
	}
	return nil
}

// deliver runs the handler for one delivery and turns its outcome into what
// the driver understands: Ack or Retry.
func (b *Bus) deliver(ctx context.Context, subscription string, d *Delivery, h Handler) Outcome {
	ctx, span := b.tel.tracer.Start(ctx, "bus.deliver", deliverySpan(ctx, subscription, d)...)
	defer span.End()
	b.tel.received(ctx, subscription, b.now().Sub(d.PublishedAt))

	out := b.call(ctx, subscription, d, h)
	label := outcomeLabel(out.Verdict)
	switch out.Verdict {
	case Ack, Retry:
	case Reject:
		out = b.reject(ctx, subscription, d, out.Reason)
	default:
		b.log.ErrorContext(ctx, "bus handler gave no verdict", deliveryAttrs(subscription, d)...)
		out = Outcome{Verdict: Retry}
	}
	b.tel.delivered(ctx, subscription, label)
	return out
}

// call runs h and turns a panic into a retry: one bad message must not end the
// process that holds other people's work.
func (b *Bus) call(ctx context.Context, subscription string, d *Delivery, h Handler) (out Outcome) {
	defer func() {
		if r := recover(); r != nil {
			// The panic value may hold parts of the message; its type says enough
			// beside the stack.
			b.log.ErrorContext(ctx, "bus handler panicked", append(deliveryAttrs(subscription, d),
				slog.String("panic_type", fmt.Sprintf("%T", r)),
				slog.String("stack", string(debug.Stack())))...)
			out = Outcome{Verdict: Retry}
		}
	}()
	return h(ctx, d)
}

// reject moves a message to the dead letter of its subscription.
func (b *Bus) reject(ctx context.Context, subscription string, d *Delivery, reason string) Outcome {
	attrs := append(deliveryAttrs(subscription, d), slog.String("reason", reason))
	if errors.Is(context.Cause(ctx), ErrLeaseLost) {
		// Somebody else has the message now and decides about it.
		return Outcome{Verdict: Retry}
	}
	topic := b.subs[subscription].DeadLetter
	if topic == "" {
		b.log.WarnContext(ctx, "bus message rejected and dropped", attrs...)
		return Outcome{Verdict: Ack}
	}
	// The receiver may be stopping; the message is still ours to move.
	dead := DeadLetter(&d.Event, subscription, reason)
	if err := b.publish(context.WithoutCancel(ctx), topic, &dead); err != nil {
		b.log.ErrorContext(ctx, "bus dead letter not taken", append(attrs, slog.String("error", err.Error()))...)
		return Outcome{Verdict: Retry}
	}
	b.log.WarnContext(ctx, "bus message rejected", attrs...)
	return Outcome{Verdict: Ack}
}

// deliveryAttrs names a delivery in logs: ids only, nothing of the payload.
func deliveryAttrs(subscription string, d *Delivery) []any {
	return []any{
		slog.String("subscription", subscription),
		slog.String("event_id", d.Event.ID()),
		slog.String("event_type", d.Event.Type()),
		slog.String("subject", d.Event.Subject()),
		slog.Int("attempt", d.Attempt),
	}
}

// outcomeLabel is the metric label of a verdict.
func outcomeLabel(v Verdict) string {
	switch v {
	case Ack:
		return "ack"
	case Retry:
		return "retry"
	case Reject:
		return "reject"
	default:
		return "none"
	}
}

// traceOf returns the event's traceparent, empty when there is none.
func traceOf(ev *events.Event) string {
	s, ok := ev.Extensions()[events.ExtTraceParent].(string)
	if !ok {
		return ""
	}
	return s
}
