package socket

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/hub"
	"codexgateway.dev/services/edge/internal/methods"
)

// Reasons of job.subscription_closed besides error codes.
const (
	reasonFinished     = "finished"
	reasonUnsubscribed = "unsubscribed"
)

var errUnsubscribed = errors.New("socket: unsubscribed")

// subscription is one job.subscribe.
type subscription struct {
	id      string
	jobID   string
	watcher *hub.Watcher
	last    atomic.Int64    // the seq of the last event written
	ctx     context.Context //nolint:containedctx // the life of the subscription
	cancel  context.CancelCauseFunc
	done    chan struct{} // closed when nothing more is sent
}

// frame is the frame a method runs for.
type frame struct {
	conn *conn

	mu      sync.Mutex // members of a batch run at once
	started []*subscription
}

type frameKey struct{}

// frameOf is the frame of a method's context. It is there: these methods are
// in the WebSocket's table only.
func frameOf(ctx context.Context) (*frame, error) {
	f, ok := ctx.Value(frameKey{}).(*frame)
	if !ok {
		return nil, errs.New(errs.Internal, "")
	}
	return f, nil
}

func (s *Server) subscribe(ctx context.Context, p apiv1.SubscribeParams) (apiv1.SubscribeResult, error) {
	var out apiv1.SubscribeResult
	f, err := frameOf(ctx)
	if err != nil {
		return out, err
	}
	if p.After < 0 {
		return out, errs.Param("/after", "This parameter must not be negative.")
	}
	if _, err := s.svc.Job(ctx, p.JobID); err != nil {
		return out, err
	}
	sub, err := f.conn.add(p.JobID, p.After)
	if err != nil {
		return out, err
	}
	f.mu.Lock()
	f.started = append(f.started, sub)
	f.mu.Unlock()
	return apiv1.SubscribeResult{SubscriptionID: sub.id, JobID: p.JobID, After: p.After}, nil
}

// unsubscribe answers when the last message of the subscription has been sent.
func (s *Server) unsubscribe(ctx context.Context, p apiv1.UnsubscribeParams) (apiv1.UnsubscribeResult, error) {
	out := apiv1.UnsubscribeResult(p)
	f, err := frameOf(ctx)
	if err != nil {
		return out, err
	}
	if p.SubscriptionID == "" {
		return out, errs.Param("/subscription_id", "A subscription id is required.")
	}
	f.conn.mu.Lock()
	sub := f.conn.subs[p.SubscriptionID]
	f.conn.mu.Unlock()
	if sub == nil {
		return out, errs.New(errs.NotFound, "This connection has no such subscription.")
	}
	sub.cancel(errUnsubscribed)
	select {
	case <-sub.done:
		return out, nil
	case <-ctx.Done():
		return out, context.Cause(ctx)
	}
}

// add begins to watch a job, within the connection's bound.
func (c *conn) add(jobID string, after int64) (*subscription, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.subs) >= c.srv.opt.Subscriptions {
		return nil, errs.Newf(errs.QuotaExceeded, "A connection has at most %d subscriptions.", c.srv.opt.Subscriptions)
	}
	w, err := c.srv.hub.Watch(jobID, after)
	if err != nil {
		return nil, methods.Fault(err)
	}
	sub := &subscription{id: id.New(id.Subscription), jobID: jobID, watcher: w, done: make(chan struct{})}
	sub.last.Store(after)
	sub.ctx, sub.cancel = context.WithCancelCause(c.ctx)
	c.subs[sub.id] = sub
	return sub, nil
}

// pump sends a subscription's events until the log ends, the client or the
// connection does, or the log cannot be read.
func (c *conn) pump(sub *subscription) {
	defer close(sub.done)
	defer sub.cancel(nil)
	defer sub.watcher.Close()
	reason := c.events(sub)
	sub.watcher.Close()
	c.mu.Lock()
	delete(c.subs, sub.id)
	c.mu.Unlock()
	if reason == "" {
		return
	}
	closed, err := jsonrpc.EncodeNotification(apiv1.NotifySubscriptionClosed, apiv1.SubscriptionClosed{
		SubscriptionID: sub.id, JobID: sub.jobID, Reason: reason, LastSeq: sub.last.Load(),
	})
	if err != nil {
		return // strings and numbers always encode
	}
	c.send(closed)
}

// events sends events and returns why it stopped; empty: the connection ends
// and there is nobody to tell.
func (c *conn) events(sub *subscription) string {
	head := `{"jsonrpc":"2.0","method":"` + apiv1.NotifyJobEvent + `","params":{"subscription_id":"` + sub.id + `",`
	message := []byte(head)
	for {
		b, err := sub.watcher.Next(sub.ctx)
		if err != nil {
			return c.ended(sub, err)
		}
		for rest := b.Events; len(rest) > 0; {
			if sub.ctx.Err() != nil {
				return c.ended(sub, context.Cause(sub.ctx))
			}
			sent := 0
			ok := c.burst(func() bool {
				for size := 0; sent < len(rest) && size < burstBytes; sent++ {
					// The event as it was stored, with one member more in front.
					message = append(append(message[:len(head)], rest[sent][1:]...), '}')
					size += len(message)
					if !c.put(message) {
						return false
					}
				}
				return true
			})
			if !ok {
				return ""
			}
			sub.last.Add(int64(sent))
			rest = rest[sent:]
		}
		if cap(message) > slowBytes {
			message = append(make([]byte, 0, len(head)), head...) // one large event must not stay in memory
		}
		if b.Closed {
			return reasonFinished
		}
	}
}

// ended is the reason that goes with an error.
func (c *conn) ended(sub *subscription, err error) string {
	switch {
	case errors.Is(err, errUnsubscribed):
		return reasonUnsubscribed
	case c.ctx.Err() != nil, errors.Is(err, hub.ErrStopped):
		return ""
	case errors.Is(err, hub.ErrSlow):
		c.shutSlow("subscription")
		return ""
	}
	c.srv.log.WarnContext(c.ctx, "subscription ended, the log cannot be read",
		slog.String("job_id", sub.jobID), slog.Any("error", err))
	if errors.Is(err, docstore.ErrUnavailable) {
		c.spawn(func() { c.shut(errs.CloseStoreLost, "the store is away: reconnect and resume") })
		return ""
	}
	return string(errs.CodeOf(methods.Fault(err)))
}
