package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/jsonrpc"
)

// subscription is the state of one subscription.
type subscription struct {
	*watch
	// id is the subscription's, empty until the gateway confirmed it.
	id string
}

// message handles one frame's message; done is true after the terminal event.
func (s *subscription) message(ctx context.Context, m *jsonrpc.Message) (done bool, err error) {
	if m.Response != nil {
		return false, s.answered(m.Response)
	}
	switch m.Notification.Method {
	case apiv1.NotifyJobEvent:
		var n apiv1.JobEventNotification
		if err := json.Unmarshal(m.Notification.Params, &n); err != nil {
			return false, fmt.Errorf("client: watch %s: decode event: %w", s.jobID, err)
		}
		return s.event(ctx, &n)
	case apiv1.NotifySubscriptionClosed:
		var n apiv1.SubscriptionClosed
		if err := json.Unmarshal(m.Notification.Params, &n); err != nil {
			return false, fmt.Errorf("client: watch %s: decode close: %w", s.jobID, err)
		}
		return s.closed(ctx, &n)
	default:
		return false, nil // a newer gateway may say more
	}
}

func (s *subscription) answered(r *jsonrpc.Response) error {
	if r.ID != subscribeID {
		return nil
	}
	if r.Error != nil {
		e := fromRPC(r.Error, 0, nil)
		if e.Retryable {
			return asRetry(e)
		}
		return e
	}
	var result apiv1.SubscribeResult
	if err := decodeResult(apiv1.MethodJobSubscribe, r.Result, &result); err != nil {
		return err
	}
	s.id, s.connected = result.SubscriptionID, true
	return nil
}

// event delivers the event that is due, drops one that came before and refuses
// one that comes too early.
func (s *subscription) event(ctx context.Context, n *apiv1.JobEventNotification) (done bool, err error) {
	if n.SubscriptionID != s.id {
		return false, nil
	}
	if n.Seq != s.last+1 {
		broken := &SequenceError{JobID: s.jobID, Want: s.last + 1, Got: n.Seq}
		s.report(ctx, broken)
		if n.Seq <= s.last {
			return false, nil
		}
		return false, broken
	}
	if err := s.fn(n.Event); err != nil {
		return false, err
	}
	s.last = n.Seq
	return eventlog.Terminal(n.Type), nil
}

// closed handles the gateway's own end of the subscription.
func (s *subscription) closed(ctx context.Context, n *apiv1.SubscriptionClosed) (done bool, err error) {
	if n.SubscriptionID != s.id {
		return false, nil
	}
	switch n.Reason {
	case "finished":
		if n.LastSeq > s.last {
			broken := &SequenceError{JobID: s.jobID, Want: s.last + 1}
			s.report(ctx, broken)
			return false, broken
		}
		return true, nil // everything was seen before this call
	case "unsubscribed":
		return false, &retryError{cause: unreachable("watch", errors.New("the gateway ended the subscription"))}
	default:
		row := errs.Lookup(errs.Code(n.Reason))
		e := &Error{RPC: row.RPC, Code: row.Code, Message: row.Message, Retryable: row.Retryable}
		if e.Retryable {
			return false, asRetry(e)
		}
		return false, e
	}
}

// report makes a broken promise known.
func (s *subscription) report(ctx context.Context, broken *SequenceError) {
	s.c.opt.Logger.ErrorContext(ctx, "the gateway broke the order of events",
		slog.String("job_id", broken.JobID), slog.Int64("want_seq", broken.Want), slog.Int64("got_seq", broken.Got))
	if s.c.opt.OnSequenceError != nil {
		s.c.opt.OnSequenceError(broken)
	}
}
