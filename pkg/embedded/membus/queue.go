package membus

import (
	"container/heap"
	"container/list"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
)

// defaultMinBackoff spaces redeliveries where the subscription says nothing,
// so that a handler that always retries does not spin.
const defaultMinBackoff = 100 * time.Millisecond

// defaultAckDeadline is Pub/Sub's.
const defaultAckDeadline = 10 * time.Second

// whenFull says what a queue does with a message it has no room for.
type whenFull int

const (
	refuse whenFull = iota + 1
	dropNewest
	dropOldest
)

// entry is one message of one queue.
type entry struct {
	// shared's attributes and data are those of other queues too: never changed.
	shared      events.Event
	publishedAt time.Time
	attempt     int       // deliveries begun
	due         time.Time // while delayed
}

func (e *entry) size() int64 { return int64(len(e.shared.DataEncoded)) }

// event returns the event with attributes of its own.
func (e *entry) event() events.Event {
	ev := e.shared
	ev.Context = ev.Context.Clone()
	return ev
}

// queue is one subscription: waiting, delayed and leased messages, and the
// receivers that take them.
type queue struct {
	bus         *Bus
	sub         events.Subscription
	full        whenFull
	maxMessages int
	maxBytes    int64

	mu        sync.Mutex
	ready     *list.List // of *entry, next first
	delayed   delayed
	wake      *time.Timer // runs promote when the first delayed message is due
	held      int         // messages here in any state
	bytes     int64
	receivers []*receiver
	next      int  // the receiver to ask first, for fairness
	dropping  bool // a drop was logged and nothing was accepted since
	closed    bool
}

func newQueue(b *Bus, sub events.Subscription) *queue {
	if sub.MinBackoff <= 0 {
		sub.MinBackoff = defaultMinBackoff
	}
	sub.MaxBackoff = max(sub.MaxBackoff, sub.MinBackoff)
	if sub.AckDeadline <= 0 {
		sub.AckDeadline = defaultAckDeadline
	}
	q := &queue{
		bus: b, sub: sub, ready: list.New(),
		full: refuse, maxMessages: b.opt.MaxMessages, maxBytes: b.opt.MaxBytes,
	}
	switch {
	case sub.Mode == events.PerInstance:
		q.full, q.maxMessages, q.maxBytes = dropNewest, b.opt.InstanceMessages, b.opt.InstanceBytes
	case b.dead[sub.Topic]:
		q.full, q.maxMessages, q.maxBytes = dropOldest, b.opt.InstanceMessages, b.opt.InstanceBytes
	}
	q.wake = time.AfterFunc(time.Hour, q.promote)
	q.wake.Stop()
	return q
}

// push takes a message; false: the queue is full and refuses it.
func (q *queue) push(e *entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return true // the subscription is gone; nobody is owed the message
	}
	if q.full == dropOldest {
		for !q.roomFor(e) && q.ready.Len() > 0 {
			q.drop(q.takeReady())
		}
	}
	if !q.roomFor(e) {
		if q.full == refuse {
			return false
		}
		q.held++ // drop releases what it is given
		q.bytes += e.size()
		q.drop(e)
		return true
	}
	q.dropping = false
	q.held++
	q.bytes += e.size()
	q.ready.PushBack(e)
	q.dispatch()
	return true
}

func (q *queue) roomFor(e *entry) bool {
	return q.held < q.maxMessages && q.bytes+e.size() <= q.maxBytes
}

// takeReady removes the first waiting message. The caller knows there is one.
func (q *queue) takeReady() *entry {
	e, _ := q.ready.Remove(q.ready.Front()).(*entry)
	return e
}

// release forgets a message.
func (q *queue) release(e *entry) {
	q.held--
	q.bytes -= e.size()
}

// drop releases a message nobody got, counts it, and logs the first of a run.
func (q *queue) drop(e *entry) {
	q.release(e)
	q.bus.drop(q.sub.Name, 1)
	if !q.dropping {
		q.dropping = true
		q.bus.opt.Logger.Warn("bus subscription full, dropping messages", slog.String("subscription", q.sub.Name))
	}
}

// dispatch hands waiting messages to receivers with a free slot, in turn.
func (q *queue) dispatch() {
	for q.ready.Len() > 0 {
		r := q.pick()
		if r == nil {
			return
		}
		q.lease(r, q.takeReady())
	}
}

// pick returns the next receiver with a free slot, nil when all are busy.
func (q *queue) pick() *receiver {
	for i := range q.receivers {
		r := q.receivers[(q.next+i)%len(q.receivers)]
		if r.free > 0 && !r.stopping {
			q.next = (q.next + i + 1) % len(q.receivers)
			return r
		}
	}
	return nil
}

// delay puts a message back after the backoff of its attempts.
func (q *queue) delay(e *entry) {
	if q.closed {
		q.release(e)
		return
	}
	backoff := q.sub.MinBackoff
	for i := 1; i < e.attempt && backoff < q.sub.MaxBackoff; i++ {
		backoff *= 2
	}
	e.due = time.Now().Add(min(backoff, q.sub.MaxBackoff))
	heap.Push(&q.delayed, e)
	q.arm()
}

// arm sets the timer to the first delayed message.
func (q *queue) arm() {
	if len(q.delayed) == 0 {
		q.wake.Stop()
		return
	}
	q.wake.Reset(time.Until(q.delayed[0].due))
}

// promote makes due messages ready.
func (q *queue) promote() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for len(q.delayed) > 0 && !q.delayed[0].due.After(now) {
		e, _ := heap.Pop(&q.delayed).(*entry)
		q.ready.PushBack(e)
	}
	q.arm()
	q.dispatch()
}

func (q *queue) attach(r *receiver) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.receivers = append(q.receivers, r)
	q.dispatch()
}

// detach ends a receiver: nothing more is given to it, and its leases are no
// longer extended.
func (q *queue) detach(r *receiver) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r.stopping = true
	for i, o := range q.receivers {
		if o == r {
			q.receivers = append(q.receivers[:i:i], q.receivers[i+1:]...)
			break
		}
	}
	q.next = 0
	for l := range r.leases {
		l.stopExtending(q.sub.AckDeadline)
	}
}

// close drops everything and stops the timer. Running handlers may still
// settle: their messages are simply forgotten.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Init()
	q.delayed = nil
	q.wake.Stop()
}

// giveUp moves a message that was delivered often enough to the dead letter.
// It is called without the lock: the dead letter is a queue like this one.
func (q *queue) giveUp(e *entry) {
	attrs := []any{slog.String("subscription", q.sub.Name), slog.String("event_id", e.shared.ID()), slog.Int("attempt", e.attempt)}
	taken := true
	if q.sub.DeadLetter != "" {
		dead := bus.DeadLetter(&e.shared, q.sub.Name, bus.ReasonDeliveries)
		q.bus.mu.RLock()
		queues := q.bus.topics[q.sub.DeadLetter]
		q.bus.mu.RUnlock()
		for _, d := range queues {
			taken = d.push(&entry{shared: dead, publishedAt: q.bus.opt.Now()}) && taken
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !taken {
		q.delay(e)
		return
	}
	q.release(e)
	q.bus.opt.Logger.Warn("bus message given up", attrs...)
}

// delayed is a heap of messages by due time.
type delayed []*entry

var _ heap.Interface = (*delayed)(nil)

func (d delayed) Len() int           { return len(d) }
func (d delayed) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d delayed) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }

// Push implements heap.Interface.
func (d *delayed) Push(x any) {
	e, _ := x.(*entry)
	*d = append(*d, e)
}

// Pop implements heap.Interface.
func (d *delayed) Pop() any {
	last := len(*d) - 1
	e := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return e
}

func subscriptionAttr(name string) attribute.KeyValue { return attribute.String("subscription", name) }
