package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
)

func oneWinner(r *rig) {
	const n = 60
	l := newHeard()
	for range 3 {
		r.receive(shared, 2, l.always(bus.Ack))
	}
	r.publish("m", n)
	got := r.ids(l, n)
	r.more(l, got)
	if r.f.Duplicates {
		return
	}
	for id, times := range got {
		if times != 1 {
			r.Errorf("%s was delivered %d times, want once", id, times)
		}
	}
}

// more counts what still comes.
func (r *rig) more(l *heard, got map[string]int) {
	timer := time.After(r.f.Quiet)
	for {
		select {
		case d := <-l.ch:
			got[d.Event.ID()]++
		case <-timer:
			return
		}
	}
}

func backlogWaits(r *rig) {
	r.publish("m", 10)
	l := newHeard()
	r.receive(shared, 1, l.always(bus.Ack))
	r.ids(l, 10)
}

func everySubscription(r *rig) {
	a, b, c := newHeard(), newHeard(), newHeard()
	r.receive(shared, 4, a.always(bus.Ack))
	r.receive(second, 4, b.always(bus.Ack))
	r.receive(instance, 4, c.always(bus.Ack))
	r.publish("m", 10)
	for _, l := range []*heard{a, b, c} {
		r.ids(l, 10)
	}
}

func retryBackoff(r *rig) {
	const rounds = 5
	type visit struct {
		at      time.Time
		attempt int
	}
	visits := make(chan visit, 64)
	n := 0
	r.receive(shared, 1, func(_ context.Context, d *bus.Delivery) bus.Outcome {
		n++ // one slot: one handler at a time
		visits <- visit{time.Now(), d.Attempt}
		if n < rounds {
			return bus.Outcome{Verdict: bus.Retry}
		}
		return bus.Outcome{Verdict: bus.Ack}
	})
	r.publishOne("m")
	var got []visit
	for len(got) < rounds {
		select {
		case v := <-visits:
			got = append(got, v)
		case <-time.After(r.f.Wait + r.f.MaxBackoff):
			r.Fatalf("timed out after %d of %d deliveries", len(got), rounds)
		}
	}
	var gaps []time.Duration
	for i, v := range got {
		if r.f.Attempts && v.attempt != i+1 {
			r.Errorf("delivery %d has attempt %d", i+1, v.attempt)
		}
		if i > 0 {
			gaps = append(gaps, v.at.Sub(got[i-1].at))
		}
	}
	select {
	case <-visits:
		if !r.f.Duplicates {
			r.Error("delivered again after the ack")
		}
	case <-time.After(r.f.Quiet):
	}
	if !r.f.Backoff {
		return
	}
	for i, gap := range gaps {
		if gap < r.f.MinBackoff*9/10 || gap > r.f.MaxBackoff+r.f.Wait {
			r.Errorf("gap %d is %s, want %s to %s", i, gap, r.f.MinBackoff, r.f.MaxBackoff)
		}
	}
	// In real time a busy machine makes any one gap long.
	if r.f.Synctest && gaps[2] <= gaps[0] {
		r.Errorf("backoff does not grow: gaps %v", gaps)
	}
}

func leaseLostOnStop(r *rig) {
	h, a := r.hold(shared)
	r.publishOne("m")
	ctx := r.waitBegan(h)
	a.cancel()
	r.ended(ctx.Done(), "handler context did not end with its receiver")

	l := newHeard()
	r.receive(shared, 1, l.always(bus.Retry))
	r.next(l, 2*r.f.AckDeadline+r.f.MaxBackoff)
	select {
	case <-a.done:
		r.Error("Receive returned before its handler did")
	default:
	}
	h.release <- bus.Ack // too late: it must not take the message from the other
	r.ended(a.done, "receiver did not stop")
	r.next(l, r.f.MaxBackoff)
}

func leaseLostAtBound(r *rig) {
	h, a := r.hold(deadline)
	r.publishOne("m")
	ctx := r.waitBegan(h)
	l := newHeard()
	r.receive(deadline, 1, l.always(bus.Ack))
	second := r.next(l, 2*r.f.AckDeadline+r.f.MaxBackoff)
	if r.f.Attempts && second.Attempt != 2 {
		r.Errorf("attempt %d, want 2", second.Attempt)
	}
	select {
	case <-ctx.Done():
		if !errors.Is(context.Cause(ctx), bus.ErrLeaseLost) {
			r.Errorf("cause %v, want ErrLeaseLost", context.Cause(ctx))
		}
	case <-time.After(r.f.Wait):
		r.Error("handler context did not end with its lease")
	}
	h.release <- bus.Retry // too late: the other has acked it
	a.stop(r)
	if !r.f.Duplicates {
		r.quiet(l, "after the ack")
	}
}

func maxOutstanding(r *rig) {
	if !r.f.MaxOutstanding {
		ownLimit(r)
		return
	}
	h, a := r.hold(shared)
	r.publishOne("first")
	r.waitBegan(h)
	l := newHeard()
	r.receive(shared, 2, l.always(bus.Ack))
	r.publish("m", 6)
	r.ids(l, 6) // all of them, though the holding receiver is still there
	if len(h.began) != 0 {
		r.Error("the receiver got more than its one slot")
	}
	h.release <- bus.Ack
	a.stop(r)
	r.quiet(l, "after everything was acked")
}

// ownLimit checks that a receiver never runs more handlers than its slots.
func ownLimit(r *rig) {
	const slots, n = 3, 30
	var running, most atomic.Int64
	var mu sync.Mutex
	seen := newHeard()
	r.receive(shared, slots, func(_ context.Context, d *bus.Delivery) bus.Outcome {
		now := running.Add(1)
		defer running.Add(-1)
		mu.Lock()
		most.Store(max(most.Load(), now))
		mu.Unlock()
		seen.ch <- d
		return bus.Outcome{Verdict: bus.Ack}
	})
	r.publish("m", n)
	r.ids(seen, n)
	if most.Load() > slots {
		r.Errorf("%d handlers at once, want at most %d", most.Load(), slots)
	}
}

func givenUp(r *rig) {
	dead, l := newHeard(), newHeard()
	r.receive(dlqAfterN, 1, dead.always(bus.Ack))
	r.receive(limited, 1, l.always(bus.Retry))
	r.publishOne("m")
	d := r.next(dead, maxDeliveries*(r.f.MaxBackoff+r.f.Wait))
	if d.Event.ID() != "m" || string(d.Event.Data()) != string(r.event("m").DataEncoded) {
		r.Errorf("dead letter is %s %q", d.Event.ID(), d.Event.Data())
	}
	if got := len(l.ch); got != maxDeliveries && !r.f.Duplicates {
		r.Errorf("%d deliveries before the dead letter, want %d", got, maxDeliveries)
	}
	for len(l.ch) > 0 {
		<-l.ch
	}
	r.quiet(l, "after the dead letter took it")
}

func drain(r *rig) {
	h, a := r.hold(shared)
	r.publishOne("held")
	r.waitBegan(h)
	r.publish("m", 5)
	a.cancel()

	l := newHeard()
	r.receive(shared, 1, l.always(bus.Ack))
	got := r.ids(l, 5) // at once, while the first handler still runs
	if got["held"] != 0 {
		r.Error("a running handler's message went to another at once")
	}
	select {
	case <-a.done:
		r.Error("Receive returned before its handler did")
	default:
	}
	h.release <- bus.Ack // within the ack deadline: it counts
	a.stop(r)
	if !r.f.Duplicates {
		select {
		case d := <-l.ch:
			r.Errorf("%s delivered again", d.Event.ID())
		case <-time.After(2*r.f.AckDeadline + r.f.MaxBackoff):
		}
	}
}

func ownLane(r *rig) {
	l, all := newHeard(), newHeard()
	r.receive(lane, 1, l.always(bus.Ack))
	r.receive(second, 4, all.always(bus.Ack))
	r.publish("short", 5) // of another lane
	none := r.event("none")
	none.SetExtension(events.ExtLane, nil)
	long := r.event("long")
	long.SetExtension(events.ExtLane, events.LaneLong)
	for _, ev := range []events.Event{none, long} {
		if err := r.d.Publish(r.Context(), topic, ev); err != nil {
			r.Fatalf("publish: %v", err)
		}
	}
	if id := r.next(l, 0).Event.ID(); id != "long" {
		r.Errorf("the lane heard %s", id)
	}
	r.ids(all, 7)
	r.quiet(l, "an event of another lane")
}

func deadLetterTopic(r *rig) {
	ev := r.event("m")
	dead := bus.DeadLetter(&ev, shared, "because")
	if err := r.d.Publish(r.Context(), dlq, dead); err != nil {
		r.Fatalf("publish: %v", err)
	}
	l := newHeard()
	r.receive(dlq, 1, l.always(bus.Ack))
	r.wantDeadLetter(r.next(l, 0), "because")
}

func rejected(r *rig) {
	b := bus.New(r.d, bus.Options{Subscriptions: r.subs})
	l := newHeard()
	r.receive(dlq, 1, l.always(bus.Ack))
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	calls := newHeard()
	go func() {
		done <- b.Receive(ctx, shared, bus.ReceiveOptions{MaxOutstanding: 1}, func(_ context.Context, d *bus.Delivery) bus.Outcome {
			calls.ch <- d
			return bus.Outcome{Verdict: bus.Reject, Reason: "no such job"}
		})
	}()
	if err := b.Publish(r.Context(), r.event("m")); err != nil {
		r.Fatalf("publish: %v", err)
	}
	r.wantDeadLetter(r.next(l, 0), "no such job")
	r.next(calls, 0)
	if !r.f.Duplicates {
		r.quiet(calls, "a rejected message came again")
	}
	cancel()
	if err := <-done; err != nil {
		r.Errorf("Receive: %v", err)
	}
}

func (r *rig) wantDeadLetter(d *bus.Delivery, reason string) {
	r.Helper()
	ext := d.Event.Extensions()
	got := fmt.Sprint(d.Event.ID(), " ", ext[bus.ExtDLQReason], " ", ext[bus.ExtDLQSubscription], " ", string(d.Event.Data()))
	want := fmt.Sprint("m ", reason, " ", shared, " ", string(r.event("m").DataEncoded))
	if got != want {
		r.Errorf("dead letter\n got %s\nwant %s", got, want)
	}
}
