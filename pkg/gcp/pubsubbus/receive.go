package pubsubbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/wait"
)

// A receiver in trouble tries again after 1 s, 2 s, 4 s … 30 s.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// receiver is one running Receive.
type receiver struct {
	d       *Driver
	sub     events.Subscription
	handler bus.Handler
	slots   int
	// ctx ends with Receive's context or with the driver, cause and all.
	ctx context.Context //nolint:containedctx // the receiver lives exactly as long as it

	// id of the subscription in the project.
	id      string
	leases  *leases
	running sync.WaitGroup // handlers

	readyOnce sync.Once
	ready     chan<- struct{}

	// full has an element when all slots have been taken for a while; freed when
	// one became free.
	full, freed chan struct{}

	mu        sync.Mutex
	free      int         // slots without a handler
	saturated *time.Timer // fires into full
	// waiting are messages that came while no slot was free, oldest first. Their
	// leases are not extended: what waits longer than its deadline goes to others.
	waiting      []*lease
	waitingBytes int
}

// Receive implements bus.Driver. While the subscription is missing or Pub/Sub
// unreachable it keeps trying and Ping tells; Ready is closed when the
// subscription exists.
func (d *Driver) Receive(ctx context.Context, subscription string, opt bus.ReceiveOptions, h bus.Handler) error {
	sub, ok := d.byName[subscription]
	switch {
	case opt.MaxOutstanding < 1:
		return fmt.Errorf("pubsubbus: receive: %w: MaxOutstanding is %d", bus.ErrInvalid, opt.MaxOutstanding)
	case !ok:
		return fmt.Errorf("pubsubbus: receive: %w: subscription %q", bus.ErrUnknownTopic, subscription)
	case !d.begin():
		return fmt.Errorf("pubsubbus: receive: %w", bus.ErrClosed)
	}
	defer d.active.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(d.life, func() { cancel(bus.ErrClosed) })() //nolint:contextcheck // it joins two lives

	r := &receiver{
		d: d, sub: sub, handler: h, slots: opt.MaxOutstanding, free: opt.MaxOutstanding,
		ctx: ctx, id: sub.Name, ready: opt.Ready, full: make(chan struct{}, 1), freed: make(chan struct{}, 1),
	}
	if d.push != nil && slices.Contains(d.push.Subscriptions, subscription) {
		if err := d.push.serve(r); err != nil {
			return fmt.Errorf("pubsubbus: receive: %w", err)
		}
	} else {
		r.pull() //nolint:contextcheck // the receiver has the context
	}
	if errors.Is(context.Cause(ctx), bus.ErrClosed) {
		return fmt.Errorf("pubsubbus: receive: %w", bus.ErrClosed)
	}
	return nil
}

// pull reads the subscription until the receiver's context ends, then waits
// for handlers and sends their answers.
func (r *receiver) pull() {
	if r.sub.Mode == events.PerInstance {
		r.id = r.d.instanceID(r.sub.Name)
		defer r.d.removeInstance(r.ctx, r.id)
	}
	r.saturated = time.AfterFunc(time.Hour, func() { signal(r.full) })
	defer r.saturated.Stop()
	r.saturated.Stop()
	r.d.health.reads(r.id, 1)
	defer r.d.health.reads(r.id, -1)
	r.leases = newLeases(r.d, r.id, r.sub)
	defer r.leases.close()

	r.keepReading()
	r.d.health.report(r, nil)
	r.giveBackWaiting()
	r.leases.stop()
	r.running.Wait()
}

// keepReading opens one stream after the other. Streams end all the time: the
// service closes each within the hour. So the first failure after a stream that
// was fine is no trouble yet.
func (r *receiver) keepReading() {
	pause, fine := firstRetry, false
	for r.ctx.Err() == nil {
		err := r.prepare(fine)
		if fine = false; err == nil {
			fine, err = r.read()
			err = r.d.explain("subscription", r.id, err)
		}
		if r.ctx.Err() != nil || !r.waitForSlot() {
			return
		}
		if fine {
			pause, fine = firstRetry, codeOf(err) != codes.NotFound
			continue
		}
		r.d.troubled(r, err)
		if !wait.For(r.ctx, pause) {
			return
		}
		pause = min(2*pause, lastRetry)
	}
}

// prepare makes sure that the subscription exists; a per-instance one is
// created when it does not. fine says that it did a moment ago.
func (r *receiver) prepare(fine bool) error {
	if fine {
		return nil
	}
	if r.sub.Mode == events.PerInstance {
		if err := r.d.createInstance(r.ctx, r.sub, r.id); err != nil {
			return err
		}
	} else if err := r.d.exists(r.ctx, r.id); err != nil {
		return err
	}
	r.hears()
	return nil
}

// hears closes Ready: the subscription keeps messages from here on.
func (r *receiver) hears() {
	r.readyOnce.Do(func() {
		if r.ready != nil {
			close(r.ready)
		}
	})
}

// Bounds of the messages that wait for a slot. The service sends no more than
// the slots; the emulator sends everything at once.
const (
	maxWaiting      = 1000
	maxWaitingBytes = 64 << 20
)

// arrive takes a message off the stream: to a handler, or to those that wait.
// It never blocks, so that nothing stays unread when the receiver stops.
func (r *receiver) arrive(l *lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetExpired()
	if r.ctx.Err() != nil || len(r.waiting) >= maxWaiting || r.waitingBytes+l.size() > maxWaitingBytes && len(r.waiting) > 0 {
		r.leases.giveBack(l)
		return
	}
	r.waiting = append(r.waiting, l)
	r.waitingBytes += l.size()
	r.dispatch()
}

// dispatch starts handlers while there are slots. The lock is held.
func (r *receiver) dispatch() {
	r.forgetExpired()
	for r.free > 0 && len(r.waiting) > 0 && r.ctx.Err() == nil {
		l := r.waiting[0]
		r.waiting = r.waiting[1:]
		r.waitingBytes -= l.size()
		r.free--
		r.running.Add(1)
		go r.handle(l)
	}
	if r.free == 0 {
		r.saturated.Reset(saturatedAfter)
	}
}

// saturatedAfter is how long all slots may be taken before the receiver closes
// its stream, so that everything else goes to others. The service counts a
// message that a slow handler lost as room for another one, and its emulator
// does not count at all.
const saturatedAfter = time.Second

// isFull reports whether the receiver has no slot. A per-instance subscription
// has no other reader: there it never matters.
func (r *receiver) isFull() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.free == 0 && r.sub.Mode == events.Shared
}

// waitForSlot gives back what waits in a full receiver and returns when a slot
// is free; false: the receiver ended.
func (r *receiver) waitForSlot() bool {
	for r.isFull() {
		r.giveBackWaiting()
		select {
		case <-r.freed:
		case <-r.ctx.Done():
			return false
		}
	}
	return true
}

// signal puts an element into a channel that has room for one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// forgetExpired drops messages that waited past their deadline: Pub/Sub
// delivers them again, to whoever has a slot. The lock is held.
func (r *receiver) forgetExpired() {
	now := time.Now()
	for len(r.waiting) > 0 && now.After(r.waiting[0].expires) {
		r.waitingBytes -= r.waiting[0].size()
		r.waiting = r.waiting[1:]
	}
}

// giveBackWaiting returns what no handler has begun, at once.
func (r *receiver) giveBackWaiting() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.waiting {
		r.leases.giveBack(l)
	}
	r.waiting, r.waitingBytes = nil, 0
}

// handle runs the handler of one delivery. Receive waits for it.
func (r *receiver) handle(l *lease) {
	defer r.running.Done()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.free++
		r.saturated.Stop()
		r.dispatch()
		signal(r.freed)
	}()
	if !r.leases.begin(r.ctx, l) {
		return
	}
	r.leases.settle(l, r.decide(l.ctx, l.message()))
}
