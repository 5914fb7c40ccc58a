package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
)

// Open returns a driver with exactly these topics and subscriptions and their
// dead letters (bus.WithDeadLetters), used by nobody else, and closes it with
// t.Cleanup.
type Open func(t *testing.T, topics []events.Topic, subs []events.Subscription) bus.Driver

// Features says what a platform can do and how fast.
type Features struct {
	// Synctest runs every case in a bubble: only for a driver without real I/O.
	Synctest bool

	// Attempts: deliveries are counted from 1.
	Attempts bool
	// Backoff: redeliveries keep the subscription's MinBackoff and MaxBackoff.
	Backoff bool
	// MaxOutstanding: the bus gives a receiver no more than it can handle, so
	// that another gets the rest. Without it only the receiver's own limit is
	// tested.
	MaxOutstanding bool
	// Duplicates: the platform may deliver a message again for no visible reason.
	Duplicates bool

	// AckDeadline, MinBackoff and MaxBackoff of the suite's subscriptions;
	// MaxBackoff is at least four times MinBackoff.
	AckDeadline            time.Duration
	MinBackoff, MaxBackoff time.Duration
	// Wait bounds the wait for something that must happen, beyond the times above.
	Wait time.Duration
	// Quiet is how long the suite watches for what must not happen.
	Quiet time.Duration
}

// Names the cases use. The topic is that of events.JobSubmitted, because
// bus.Bus takes the topic from the type.
const (
	topic     = events.TopicJobCommands
	other     = events.TopicJobControl
	shared    = topic + ".shared"
	second    = topic + ".second"
	instance  = topic + ".instance"
	limited   = topic + ".limited"
	deadline  = topic + ".bounded"
	lane      = topic + ".lane"
	dlq       = shared + ".dlq"
	dlqAfterN = limited + ".dlq"
	// maxDeliveries is the least Pub/Sub allows.
	maxDeliveries = 5
)

// Run runs the suite.
func Run(t *testing.T, open Open, f Features) {
	t.Helper()
	cases := []struct {
		name string
		run  func(*rig)
	}{
		{"shared: one receiver wins each message", oneWinner},
		{"shared: the backlog waits for a receiver", backlogWaits},
		{"shared: every subscription of a topic gets its own copy", everySubscription},
		{"shared: retry comes again after a growing backoff", retryBackoff},
		{"shared: a stopped receiver's unanswered message goes to another", leaseLostOnStop},
		{"shared: a lease ends at its bound", leaseLostAtBound},
		{"shared: max outstanding is honoured", maxOutstanding},
		{"shared: given up after max deliveries", givenUp},
		{"shared: stopping drains", drain},
		{"shared: a lane hears its own events only", ownLane},
		{"dead letter: can be published to and read", deadLetterTopic},
		{"dead letter: a rejected message arrives with its reason", rejected},
		{"per instance: everyone hears, nobody the past", everyoneHears},
		{"per instance: gone with the instance", goneWithInstance},
		{"event: attributes and bytes arrive exactly", exact},
		{"event: a copy's attributes are its own", ownAttributes},
		{"refused: too large, the largest passes", tooLarge},
		{"refused: unknown topic and subscription", unknownNames},
		{"refused: no slots", noSlots},
		{"refused: publish with an ended context", endedContext},
		{"closed: everything answers closed", closed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if f.Synctest {
				synctest.Test(t, func(t *testing.T) { c.run(newRig(t, open, f)) })
				return
			}
			t.Parallel()
			c.run(newRig(t, open, f))
		})
	}
}

// rig is one case's bus.
type rig struct {
	*testing.T

	f    Features
	d    bus.Driver
	subs []events.Subscription
}

func newRig(t *testing.T, open Open, f Features) *rig {
	t.Helper()
	sub := func(name string, mode events.Mode) events.Subscription {
		return events.Subscription{
			Name: name, Topic: topic, Service: "suite", Mode: mode,
			AckDeadline: f.AckDeadline, MaxExtension: 100 * f.AckDeadline,
			MinBackoff: f.MinBackoff, MaxBackoff: f.MaxBackoff,
		}
	}
	main := sub(shared, events.Shared)
	main.DeadLetter = dlq
	few := sub(limited, events.Shared)
	few.DeadLetter, few.MaxDeliveries = dlqAfterN, maxDeliveries
	bounded := sub(deadline, events.Shared)
	bounded.MaxExtension = f.AckDeadline
	oneLane := sub(lane, events.Shared)
	oneLane.Lane = events.LaneLong
	subs := []events.Subscription{main, sub(second, events.Shared), few, bounded, oneLane, sub(instance, events.PerInstance)}
	topics := []events.Topic{{Name: topic, From: []string{"suite"}}, {Name: other, From: []string{"suite"}}}
	return &rig{T: t, f: f, d: open(t, topics, subs), subs: subs}
}

// event returns a valid event whose id is the given one.
func (r *rig) event(id string) events.Event {
	r.Helper()
	ev, err := events.New(events.Head{
		ID: id, Source: "/codexgw/suite", Subject: "job_" + id, Lane: "short",
		Time: time.Date(2026, 2, 3, 4, 5, 6, 789_000_000, time.UTC),
	}, events.JobSubmitted{JobID: "job_" + id, ConversationID: "conv_1", Tenant: "acme", Lane: "short"})
	if err != nil {
		r.Fatalf("event: %v", err)
	}
	return ev
}

// publish publishes n events, ids "0" to "n-1" behind the prefix.
func (r *rig) publish(prefix string, n int) {
	r.Helper()
	for i := range n {
		r.publishOne(fmt.Sprintf("%s%d", prefix, i))
	}
}

func (r *rig) publishOne(id string) {
	r.Helper()
	if err := r.d.Publish(r.Context(), topic, r.event(id)); err != nil {
		r.Fatalf("publish %s: %v", id, err)
	}
}

// receiver is a Receive that runs.
type receiver struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // after done
}

// receive starts a receiver and returns once it hears.
func (r *rig) receive(subscription string, slots int, h bus.Handler) *receiver {
	r.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	rcv := &receiver{cancel: cancel, done: make(chan struct{})}
	ready := make(chan struct{})
	go func() {
		defer close(rcv.done)
		rcv.err = r.d.Receive(ctx, subscription, bus.ReceiveOptions{MaxOutstanding: slots, Ready: ready}, h)
	}()
	r.Cleanup(func() { cancel(); <-rcv.done })
	select {
	case <-ready:
	case <-rcv.done:
		r.Fatalf("receive %s ended at once: %v", subscription, rcv.err)
	case <-time.After(r.f.Wait):
		r.Fatalf("receive %s: not ready", subscription)
	}
	return rcv
}

// stop ends the receiver and waits for it.
func (rcv *receiver) stop(r *rig) {
	r.Helper()
	rcv.cancel()
	r.ended(rcv.done, "receiver did not stop")
	if rcv.err != nil {
		r.Errorf("Receive returned %v, want nil", rcv.err)
	}
}

// ended waits for a channel to close.
func (r *rig) ended(done <-chan struct{}, what string) {
	r.Helper()
	select {
	case <-done:
	case <-time.After(r.f.Wait):
		r.Fatalf("timed out: %s", what)
	}
}

// quiet fails when something arrives on log that must not.
func (r *rig) quiet(l *heard, what string) {
	r.Helper()
	select {
	case d := <-l.ch:
		r.Fatalf("%s: got %s attempt %d", what, d.Event.ID(), d.Attempt)
	case <-time.After(r.f.Quiet):
	}
}

// heard collects deliveries. It holds more than any case publishes, so that a
// handler never blocks on it.
type heard struct {
	ch chan *bus.Delivery
}

func newHeard() *heard { return &heard{ch: make(chan *bus.Delivery, 4096)} }

// always returns a handler that notes the delivery and gives one verdict.
func (l *heard) always(v bus.Verdict) bus.Handler {
	return func(_ context.Context, d *bus.Delivery) bus.Outcome {
		l.ch <- d
		return bus.Outcome{Verdict: v}
	}
}

// next waits for one delivery, within the platform's patience plus extra.
func (r *rig) next(l *heard, extra time.Duration) *bus.Delivery {
	r.Helper()
	select {
	case d := <-l.ch:
		return d
	case <-time.After(r.f.Wait + extra):
		r.Fatal("timed out: no delivery")
		return nil
	}
}

// ids waits until n different events were heard and returns how often each was.
func (r *rig) ids(l *heard, n int) map[string]int {
	r.Helper()
	got := map[string]int{}
	for len(got) < n {
		got[r.next(l, 0).Event.ID()]++
	}
	return got
}

// held is a handler that keeps its message until told, deaf to its context.
type held struct {
	began   chan context.Context
	release chan bus.Verdict
	once    sync.Once
}

func (h *held) letGo() { h.once.Do(func() { close(h.release) }) }

func (h *held) handle(ctx context.Context, _ *bus.Delivery) bus.Outcome {
	h.began <- ctx
	return bus.Outcome{Verdict: <-h.release}
}

// hold starts a receiver with one slot whose handlers all block until h.release.
func (r *rig) hold(subscription string) (*held, *receiver) {
	r.Helper()
	h := &held{began: make(chan context.Context, 64), release: make(chan bus.Verdict)}
	rcv := r.receive(subscription, 1, h.handle)
	r.Cleanup(h.letGo) // before the receiver's cleanup, which waits for the handlers
	return h, rcv
}

// waitBegan waits until the held handler has a message and returns its context.
func (r *rig) waitBegan(h *held) context.Context {
	r.Helper()
	select {
	case ctx := <-h.began:
		return ctx
	case <-time.After(r.f.Wait):
		r.Fatal("timed out: no delivery to the holding receiver")
		return nil
	}
}

// wantErr checks the class of an error.
func (r *rig) wantErr(what string, err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Errorf("%s: error %v, want %v", what, err, want)
	}
}
