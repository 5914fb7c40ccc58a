package membus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
)

// Options of a [Bus]; zero values are the documented defaults.
type Options struct {
	// Logger; nil: slog.Default().
	Logger *slog.Logger
	// Now stamps deliveries; nil: time.Now. Backoff and leases run on timers.
	Now func() time.Time
	// MeterProvider counts dropped messages; nil: the one registered with OpenTelemetry.
	MeterProvider metric.MeterProvider
	// MaxMessages and MaxBytes bound a shared subscription: 65,536 and 256 MiB.
	MaxMessages int
	MaxBytes    int64
	// InstanceMessages and InstanceBytes bound a per-instance subscription and
	// a dead letter: 1,024 and 64 MiB.
	InstanceMessages int
	InstanceBytes    int64
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if o.MaxMessages <= 0 {
		o.MaxMessages = 65_536
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 256 << 20
	}
	if o.InstanceMessages <= 0 {
		o.InstanceMessages = 1024
	}
	if o.InstanceBytes <= 0 {
		o.InstanceBytes = 64 << 20
	}
	return o
}

// Bus is an in-process bus.Driver. It is safe for concurrent use.
type Bus struct {
	opt     Options
	dropped metric.Int64Counter
	// life ends with Close.
	life context.Context //nolint:containedctx // the life of the bus, not of a call
	end  context.CancelCauseFunc
	// subs and dead never change after New.
	subs map[string]events.Subscription
	dead map[string]bool

	mu     sync.RWMutex
	topics map[string][]*queue // every queue a message of the topic goes to
	shared map[string]*queue   // by subscription name
	closed bool
	active sync.WaitGroup // one per running Receive
}

var _ bus.Driver = (*Bus)(nil)

// New returns a bus with these topics and subscriptions and the dead letters
// they imply (bus.WithDeadLetters). A subscription of an undeclared topic does
// not exist for Receive.
func New(topics []events.Topic, subs []events.Subscription, opt Options) *Bus {
	b := &Bus{
		opt:    opt.withDefaults(),
		subs:   make(map[string]events.Subscription),
		dead:   make(map[string]bool),
		topics: make(map[string][]*queue),
		shared: make(map[string]*queue),
	}
	b.life, b.end = context.WithCancelCause(context.Background())
	var err error
	b.dropped, err = b.opt.MeterProvider.Meter("codexgateway.dev/pkg/embedded/membus").Int64Counter("codexgw_bus_dropped",
		metric.WithDescription("Messages that a full subscription dropped, by subscription."))
	if err != nil { // the counter returned beside the error is a no-op
		b.opt.Logger.Error("bus metric not created", slog.String("error", err.Error()))
	}
	for _, s := range subs {
		b.dead[s.DeadLetter] = s.DeadLetter != ""
	}
	topics, subs = bus.WithDeadLetters(topics, subs)
	for _, t := range topics {
		b.topics[t.Name] = nil
	}
	for _, s := range subs {
		if _, ok := b.topics[s.Topic]; !ok {
			continue
		}
		b.subs[s.Name] = s
		if s.Mode == events.Shared {
			q := newQueue(b, s)
			b.shared[s.Name] = q
			b.topics[s.Topic] = append(b.topics[s.Topic], q)
		}
	}
	return b
}

// Publish implements bus.Driver. It never waits: the event is in every
// subscription of the topic, or refused by a full one, when it returns.
func (b *Bus) Publish(ctx context.Context, topic string, ev events.Event) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("membus: publish: %w", err)
	}
	if len(ev.DataEncoded) > bus.MaxMessageBytes {
		return fmt.Errorf("membus: publish: %w: %d bytes", bus.ErrTooLarge, len(ev.DataEncoded))
	}
	b.mu.RLock()
	queues, ok := b.topics[topic]
	closed := b.closed
	b.mu.RUnlock()
	switch {
	case closed:
		return fmt.Errorf("membus: publish: %w", bus.ErrClosed)
	case !ok:
		return fmt.Errorf("membus: publish: %w: topic %q", bus.ErrUnknownTopic, topic)
	}
	ev.Context = ev.Context.Clone() // the caller may go on changing its own
	ev.FieldErrors = nil
	at := b.opt.Now()
	var full []error
	lane, _ := ev.Extensions()[events.ExtLane].(string)
	for _, q := range queues {
		if q.sub.Lane != "" && q.sub.Lane != lane {
			continue
		}
		if !q.push(&entry{shared: ev, publishedAt: at}) {
			full = append(full, fmt.Errorf("membus: publish: %w: subscription %q", bus.ErrFull, q.sub.Name))
		}
	}
	return errors.Join(full...)
}

// Receive implements bus.Driver.
func (b *Bus) Receive(ctx context.Context, subscription string, opt bus.ReceiveOptions, h bus.Handler) error {
	if opt.MaxOutstanding < 1 {
		return fmt.Errorf("membus: receive: %w: MaxOutstanding is %d", bus.ErrInvalid, opt.MaxOutstanding)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := newReceiver(ctx, opt.MaxOutstanding, h)
	q, err := b.attach(subscription, r)
	if err != nil {
		return err
	}
	defer b.active.Done()
	if opt.Ready != nil {
		close(opt.Ready)
	}
	select {
	case <-ctx.Done():
	case <-b.life.Done():
		err = fmt.Errorf("membus: receive: %w", bus.ErrClosed)
		cancel(bus.ErrClosed)
	}
	if q.sub.Mode == events.PerInstance {
		b.remove(q)
	}
	q.detach(r)
	r.running.Wait()
	return err
}

// attach joins r to the subscription's queue; a per-instance subscription gets
// a queue of its own.
func (b *Bus) attach(subscription string, r *receiver) (*queue, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("membus: receive: %w", bus.ErrClosed)
	}
	sub, ok := b.subs[subscription]
	if !ok {
		return nil, fmt.Errorf("membus: receive: %w: subscription %q", bus.ErrUnknownTopic, subscription)
	}
	q := b.shared[subscription]
	if q == nil {
		q = newQueue(b, sub)
		// A new slice: Publish may be walking the old one.
		b.topics[sub.Topic] = append(slices.Clip(b.topics[sub.Topic]), q)
	}
	q.attach(r)
	b.active.Add(1)
	return q, nil
}

// remove takes a per-instance queue off its topic and drops what it holds.
func (b *Bus) remove(q *queue) {
	b.mu.Lock()
	// A new slice: Publish may be walking the old one.
	b.topics[q.sub.Topic] = slices.DeleteFunc(slices.Clone(b.topics[q.sub.Topic]), func(o *queue) bool { return o == q })
	b.mu.Unlock()
	q.close()
}

// Ping implements bus.Driver.
func (b *Bus) Ping(context.Context) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return fmt.Errorf("membus: ping: %w", bus.ErrClosed)
	}
	return nil
}

// Close implements bus.Driver: it ends every Receive, waits for them and their
// handlers, and drops all messages. Calling it from a handler deadlocks.
func (b *Bus) Close() error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		b.end(bus.ErrClosed)
	}
	b.mu.Unlock()
	b.active.Wait()
	for _, q := range b.shared {
		q.close()
	}
	return nil
}

// drop counts a message that a full queue let go.
func (b *Bus) drop(subscription string, n int64) {
	b.dropped.Add(b.life, n, metric.WithAttributes(subscriptionAttr(subscription)))
}
