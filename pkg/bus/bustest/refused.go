package bustest

import (
	"context"
	"errors"
	"time"

	"codexgateway.dev/pkg/bus"
)

func tooLarge(r *rig) {
	l := newHeard()
	r.receive(shared, 1, l.always(bus.Ack))
	ev := r.event("big")
	ev.SetDataContentType("application/octet-stream")
	ev.DataEncoded = make([]byte, bus.MaxMessageBytes+1)
	r.wantErr("publish", r.d.Publish(r.Context(), topic, ev), bus.ErrTooLarge)
	ev.DataEncoded = ev.DataEncoded[:bus.MaxMessageBytes]
	if err := r.d.Publish(r.Context(), topic, ev); err != nil {
		r.Fatalf("publish of the largest: %v", err)
	}
	if got := len(r.next(l, 0).Event.Data()); got != bus.MaxMessageBytes {
		r.Errorf("got %d bytes, want %d", got, bus.MaxMessageBytes)
	}
}

func unknownNames(r *rig) {
	noop := func(context.Context, *bus.Delivery) bus.Outcome { return bus.Outcome{Verdict: bus.Ack} }
	r.wantErr("publish", r.d.Publish(r.Context(), "no-such-topic", r.event("m")), bus.ErrUnknownTopic)
	r.wantErr("receive", r.d.Receive(r.Context(), "no-such.sub", bus.ReceiveOptions{MaxOutstanding: 1}, noop), bus.ErrUnknownTopic)
	// A topic nobody reads is no error.
	if err := r.d.Publish(r.Context(), other, r.event("m")); err != nil {
		r.Errorf("publish to a topic without subscriptions: %v", err)
	}
}

func noSlots(r *rig) {
	noop := func(context.Context, *bus.Delivery) bus.Outcome { return bus.Outcome{Verdict: bus.Ack} }
	r.wantErr("receive", r.d.Receive(r.Context(), shared, bus.ReceiveOptions{}, noop), bus.ErrInvalid)
}

func endedContext(r *rig) {
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	if err := r.d.Publish(ctx, topic, r.event("m")); !errors.Is(err, context.Canceled) {
		r.Errorf("publish: error %v, want Canceled", err)
	}
}

func closed(r *rig) {
	if err := r.d.Ping(r.Context()); err != nil {
		r.Errorf("ping: %v", err)
	}
	l := newHeard()
	h, rcv := r.hold(shared)
	r.publishOne("held")
	ctx := r.waitBegan(h)
	closing := make(chan error, 1)
	go func() { closing <- r.d.Close() }()
	r.ended(ctx.Done(), "handler context did not end with the bus")
	select {
	case err := <-closing:
		r.Fatalf("closed before its handler returned: %v", err)
	case <-time.After(min(r.f.Quiet, r.f.AckDeadline)):
	}
	h.release <- bus.Ack
	r.ended(rcv.done, "receiver did not end with the bus")
	select {
	case err := <-closing:
		if err != nil {
			r.Errorf("close: %v", err)
		}
	case <-time.After(r.f.Wait):
		r.Fatal("timed out: close")
	}
	r.wantErr("running receive", rcv.err, bus.ErrClosed)
	r.wantErr("publish", r.d.Publish(r.Context(), topic, r.event("m")), bus.ErrClosed)
	r.wantErr("ping", r.d.Ping(r.Context()), bus.ErrClosed)
	r.wantErr("receive", r.d.Receive(r.Context(), shared, bus.ReceiveOptions{MaxOutstanding: 1}, l.always(bus.Ack)), bus.ErrClosed)
	if err := r.d.Close(); err != nil {
		r.Errorf("second close: %v", err)
	}
}
