package bus

import (
	"slices"
	"strings"
	"time"

	"codexgateway.dev/events"
)

// Extension attributes of a dead letter.
const (
	// ExtDLQReason says why nobody could handle the event: the reason of the
	// rejection, or [ReasonDeliveries].
	ExtDLQReason = "dlqreason"
	// ExtDLQSubscription names the subscription that gave the event up.
	ExtDLQSubscription = "dlqsubscription"
)

// ReasonDeliveries is the reason of an event that was delivered MaxDeliveries
// times and acked by nobody.
const ReasonDeliveries = "max_deliveries"

// maxReasonBytes keeps the reason far below what a bus takes as an attribute
// (Pub/Sub: 1,024 bytes).
const maxReasonBytes = 512

// Numbers of a dead letter's own subscription: it is read by a person or a
// tool, slowly, and gives nothing up.
const (
	dlqAckDeadline  = time.Minute
	dlqMaxExtension = 10 * time.Minute
	dlqMinBackoff   = 10 * time.Second
	dlqMaxBackoff   = 10 * time.Minute
)

// WithDeadLetters returns the topics and subscriptions together with those
// that the subscriptions' DeadLetter fields imply: for each a topic of that
// name and one shared subscription of the same name, so that a dead letter is
// read as any other message, on every platform.
func WithDeadLetters(topics []events.Topic, subs []events.Subscription) ([]events.Topic, []events.Subscription) {
	outT, outS := slices.Clone(topics), slices.Clone(subs)
	seen := make(map[string]bool, len(subs))
	for _, s := range subs {
		if s.DeadLetter == "" || seen[s.DeadLetter] {
			continue
		}
		seen[s.DeadLetter] = true
		outT = append(outT, events.Topic{
			Name: s.DeadLetter,
			From: []string{s.Service},
			Doc:  "Messages of " + s.Name + " that nobody could handle.",
		})
		outS = append(outS, events.Subscription{
			Name: s.DeadLetter, Topic: s.DeadLetter, Service: s.Service, Mode: events.Shared,
			AckDeadline: dlqAckDeadline, MaxExtension: dlqMaxExtension,
			MinBackoff: dlqMinBackoff, MaxBackoff: dlqMaxBackoff,
		})
	}
	return outT, outS
}

// DeadLetter returns a copy of an event that carries why it was given up. The
// data bytes are shared with ev. Characters of the reason that an attribute
// cannot carry on every bus (anything but printable ASCII) become "?".
func DeadLetter(ev *events.Event, subscription, reason string) events.Event {
	out := withHeaderCopy(ev)
	reason = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, reason)
	if len(reason) > maxReasonBytes {
		reason = reason[:maxReasonBytes]
	}
	if reason != "" { // an empty attribute value is not a valid CloudEvents string
		out.SetExtension(ExtDLQReason, reason)
	}
	out.SetExtension(ExtDLQSubscription, subscription)
	return out
}

// withHeaderCopy returns the event with its own attributes and the same data
// bytes: events.Event.Clone would copy up to 9 MiB.
func withHeaderCopy(ev *events.Event) events.Event {
	out := *ev
	out.Context = ev.Context.Clone()
	out.FieldErrors = nil
	return out
}
