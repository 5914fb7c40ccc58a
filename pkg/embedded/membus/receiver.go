package membus

import (
	"context"
	"sync"
	"time"

	"codexgateway.dev/pkg/bus"
)

// receiver is one running Receive. Its fields but running are guarded by the
// queue's lock.
type receiver struct {
	ctx     context.Context //nolint:containedctx // the receiver lives exactly as long as Receive's context
	handler bus.Handler
	// free slots: MaxOutstanding minus running handlers, whoever holds the lease.
	free     int
	stopping bool
	leases   map[*lease]struct{}
	// running counts handler goroutines; Receive waits for it.
	running sync.WaitGroup
}

func newReceiver(ctx context.Context, slots int, h bus.Handler) *receiver {
	return &receiver{ctx: ctx, handler: h, free: slots, leases: make(map[*lease]struct{}, slots)}
}

// lease is one delivery: a message in one receiver's hands. The receiver is in
// this process, so extending is implicit; only its bounds need a timer.
type lease struct {
	queue   *queue
	entry   *entry
	rcv     *receiver
	attempt int
	ctx     context.Context //nolint:containedctx // the handler's context
	cancel  context.CancelCauseFunc
	// lost fires when the lease ends without an answer; nil: unbounded.
	lost     *time.Timer
	deadline time.Time
	// over is set when the message is no longer this delivery's.
	over bool
}

// lease gives e to r and starts its handler. The queue's lock is held.
func (q *queue) lease(r *receiver, e *entry) {
	e.attempt++
	l := &lease{queue: q, entry: e, rcv: r, attempt: e.attempt}
	l.ctx, l.cancel = context.WithCancelCause(r.ctx)
	if q.sub.MaxExtension > 0 {
		l.deadline = time.Now().Add(q.sub.MaxExtension)
		l.lost = time.AfterFunc(q.sub.MaxExtension, l.lose)
	}
	r.free--
	r.leases[l] = struct{}{}
	r.running.Add(1)
	go l.run()
}

// run handles the delivery. It is owned by Receive, which waits for it.
func (l *lease) run() {
	defer l.rcv.running.Done()
	defer l.cancel(nil)
	if l.giveBack() {
		return
	}
	out := l.rcv.handler(l.ctx, &bus.Delivery{Event: l.entry.event(), Attempt: l.attempt, PublishedAt: l.entry.publishedAt})
	l.settle(out.Verdict)
}

// giveBack returns the message at once, uncounted, when the receiver ended
// before its handler began.
func (l *lease) giveBack() bool {
	if l.ctx.Err() == nil {
		return false
	}
	q := l.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	// Not picked again, though Receive may not have noticed yet.
	l.rcv.stopping = true
	if l.end() {
		l.entry.attempt--
		if q.closed {
			q.release(l.entry)
		} else {
			q.ready.PushFront(l.entry)
		}
	}
	q.dispatch()
	return true
}

// settle applies the handler's answer and frees its slot.
func (l *lease) settle(v bus.Verdict) {
	q := l.queue
	q.mu.Lock()
	l.rcv.free++
	giveUp := false
	switch {
	case !l.end(): // the message is somebody else's by now
	case v == bus.Ack:
		q.release(l.entry)
	default:
		giveUp = l.retry()
	}
	q.dispatch()
	q.mu.Unlock()
	if giveUp {
		q.giveUp(l.entry)
	}
}

// lose ends a lease whose bound was reached. The handler keeps its slot until
// it returns: it still uses its receiver's resources.
func (l *lease) lose() {
	q := l.queue
	q.mu.Lock()
	giveUp := false
	if l.end() {
		l.cancel(bus.ErrLeaseLost)
		giveUp = l.retry()
	}
	q.mu.Unlock()
	if giveUp {
		q.giveUp(l.entry)
	}
}

// retry delays the message, or reports true when it had its last delivery. The
// queue's lock is held.
func (l *lease) retry() (giveUp bool) {
	q := l.queue
	if limit := q.sub.MaxDeliveries; limit > 0 && l.attempt >= limit && !q.closed {
		return true
	}
	q.delay(l.entry)
	return false
}

// end takes the message from this delivery; false: it was taken before. The
// queue's lock is held.
func (l *lease) end() bool {
	if l.over {
		return false
	}
	l.over = true
	delete(l.rcv.leases, l)
	if l.lost != nil {
		l.lost.Stop()
	}
	return true
}

// stopExtending bounds the lease to one more ack deadline. The queue's lock is
// held.
func (l *lease) stopExtending(ackDeadline time.Duration) {
	if l.lost == nil {
		l.lost = time.AfterFunc(ackDeadline, l.lose)
		return
	}
	if time.Until(l.deadline) > ackDeadline {
		l.lost.Reset(ackDeadline)
	}
}
