package pubsubbus

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/gcp/cebinding"
)

// maxIDs is how many messages one call answers or extends; a request may have
// 512 KiB (https://cloud.google.com/pubsub/quotas#resource_limits).
const maxIDs = 1000

// answerTimeout bounds a call that answers or extends: half of the shortest
// deadline, so that one lost call does not lose leases.
const answerTimeout = minAckDeadline / 2

// lease is one message in this process's hands. All but raw is guarded by the
// lock of its leases.
type lease struct {
	raw *pubsubpb.ReceivedMessage
	// expires is when Pub/Sub gives the message to somebody else.
	expires time.Time

	// From begin on:
	ctx    context.Context //nolint:containedctx // the handler's context
	cancel context.CancelCauseFunc
	// bound fires when the lease ends without an answer: at MaxExtension, or one
	// AckDeadline after the receiver stopped.
	bound   *time.Timer
	endsBy  time.Time // when bound fires
	settled bool
}

func (l *lease) size() int { return len(l.raw.GetMessage().GetData()) }

func (l *lease) message() *message {
	m := l.raw.GetMessage()
	return &message{
		Message: cebinding.Message{Data: m.GetData(), Attributes: m.GetAttributes()},
		id:      m.GetMessageId(), publishedAt: m.GetPublishTime().AsTime(), attempt: int(l.raw.GetDeliveryAttempt()),
	}
}

// leases is what one receiver holds: it extends leases while their handlers
// run and sends the answers, many in one call.
type leases struct {
	d    *Driver
	path string
	sub  events.Subscription

	mu       sync.Mutex
	live     map[*lease]struct{} // with a running handler
	done     []string            // to acknowledge, by ack id
	back     []string            // to give back
	stopping bool
	answers  chan struct{} // has one element when done or back have any
	closed   chan struct{}
	workers  sync.WaitGroup
}

func newLeases(d *Driver, id string, sub events.Subscription) *leases {
	ls := &leases{
		d: d, path: d.subPath(id), sub: sub, live: make(map[*lease]struct{}),
		answers: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	ls.workers.Go(ls.answer)
	ls.workers.Go(ls.extend)
	return ls
}

// close sends the last answers and returns. No handler runs any more.
func (ls *leases) close() {
	close(ls.closed)
	ls.workers.Wait()
}

// newLease starts the lease of a message that just came: the stream told Pub/Sub
// to wait for AckDeadline.
func (ls *leases) newLease(raw *pubsubpb.ReceivedMessage) *lease {
	return &lease{raw: raw, expires: time.Now().Add(ls.sub.AckDeadline)}
}

// begin makes l live: extended until it is settled or lost. false: the receiver
// ended before the handler began, and the message was given back.
func (ls *leases) begin(ctx context.Context, l *lease) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.stopping || ctx.Err() != nil {
		ls.giveBackLocked(l)
		return false
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	l.endsBy = time.Now().Add(ls.sub.MaxExtension)
	l.bound = time.AfterFunc(ls.sub.MaxExtension, func() { ls.lose(l) })
	ls.live[l] = struct{}{}
	return true
}

// settle sends the handler's answer, unless the message is no longer its own.
func (ls *leases) settle(l *lease, ack bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if !ls.endLocked(l) {
		return
	}
	if ack {
		ls.done = append(ls.done, l.raw.GetAckId())
		ls.wake()
	} else {
		ls.giveBackLocked(l)
	}
	l.cancel(nil)
}

// lose ends a lease at its bound. The message is given back, so that the next
// one need not wait for a deadline to pass.
func (ls *leases) lose(l *lease) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.endLocked(l) {
		ls.giveBackLocked(l)
		l.cancel(bus.ErrLeaseLost)
	}
}

// endLocked takes the message from its handler; false: it was taken before.
func (ls *leases) endLocked(l *lease) bool {
	if l.settled {
		return false
	}
	l.settled = true
	l.bound.Stop()
	delete(ls.live, l)
	return true
}

func (ls *leases) giveBack(l *lease) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.giveBackLocked(l)
}

func (ls *leases) giveBackLocked(l *lease) {
	ls.back = append(ls.back, l.raw.GetAckId())
	ls.wake()
}

func (ls *leases) wake() { signal(ls.answers) }

// stop bounds every lease to one more AckDeadline, and extends it that far once.
func (ls *leases) stop() {
	ls.mu.Lock()
	ls.stopping = true
	now := time.Now()
	last := make([]*lease, 0, len(ls.live))
	for l := range ls.live {
		if end := now.Add(ls.sub.AckDeadline); end.Before(l.endsBy) {
			l.endsBy = end
			l.bound.Reset(ls.sub.AckDeadline)
		}
		last = append(last, l)
	}
	ls.mu.Unlock()
	ls.extendAll(last)
}

// answer sends acknowledgements and give-backs as they come. While a call is
// under way the next batch collects.
func (ls *leases) answer() {
	for {
		select {
		case <-ls.answers:
			ls.flush()
		case <-ls.closed:
			ls.flush()
			return
		}
	}
}

func (ls *leases) flush() {
	ls.mu.Lock()
	done, back := ls.done, ls.back
	ls.done, ls.back = nil, nil
	ls.mu.Unlock()
	client := ls.d.client.SubscriptionAdminClient
	ls.batches(done, "acknowledge", func(ctx context.Context, ids []string) error {
		return client.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: ls.path, AckIds: ids})
	})
	ls.batches(back, "give back", func(ctx context.Context, ids []string) error {
		return client.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{Subscription: ls.path, AckIds: ids})
	})
}

// batches makes one call for each maxIDs ids and reports whether all succeeded.
// A call that failed is not repeated here: the message comes again by itself.
func (ls *leases) batches(ids []string, what string, call func(ctx context.Context, ids []string) error) (ok bool) {
	ok = true
	for len(ids) > 0 {
		n := min(len(ids), maxIDs)
		// Also for handlers that end after their receiver.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ls.d.life), answerTimeout)
		if err := call(ctx, ids[:n]); err != nil {
			ok = false
			ls.d.log.Debug("bus answer not sent", slog.String("subscription", ls.sub.Name), slog.String("answer", what),
				slog.Int("messages", n), slog.String("error", err.Error()))
		}
		cancel()
		ids = ids[n:]
	}
	return ok
}

// extend keeps live leases alive, and ends those that could not be kept.
func (ls *leases) extend() {
	tick := time.NewTicker(ls.sub.AckDeadline / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			ls.extendAll(ls.due())
		case <-ls.closed:
			return
		}
	}
}

// due returns the live leases in the second half of their deadline, and ends
// those past it: somebody else has the message.
func (ls *leases) due() (due []*lease) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	now := time.Now()
	for l := range ls.live {
		switch left := l.expires.Sub(now); {
		case left <= 0:
			ls.endLocked(l)
			l.cancel(bus.ErrLeaseLost)
		case left <= ls.sub.AckDeadline*3/4 && !ls.stopping:
			due = append(due, l)
		}
	}
	return due
}

// extendAll asks for one more AckDeadline for each lease.
func (ls *leases) extendAll(due []*lease) {
	if len(due) == 0 {
		return
	}
	ids := make([]string, len(due))
	for i, l := range due {
		ids[i] = l.raw.GetAckId()
	}
	began := time.Now()
	ok := ls.batches(ids, "extend", func(ctx context.Context, ids []string) error {
		return ls.d.client.SubscriptionAdminClient.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
			Subscription: ls.path, AckIds: ids, AckDeadlineSeconds: wholeSeconds(ls.sub.AckDeadline),
		})
	})
	if !ok {
		return // those of a batch that did succeed are extended again at the next tick
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range due {
		l.expires = began.Add(ls.sub.AckDeadline)
	}
}
