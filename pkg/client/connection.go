package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/jsonrpc"
)

const (
	// dialTimeout bounds one handshake, answerTimeout the answer to job.subscribe.
	dialTimeout   = 10 * time.Second
	answerTimeout = 15 * time.Second
	// pingEvery and pingTimeout find a connection that died without a word:
	// between two events there may be silence for hours.
	pingEvery   = 20 * time.Second
	pingTimeout = 10 * time.Second
	// maxFrame bounds one frame of the gateway: one event. Codex items carry
	// whole command outputs and diffs.
	maxFrame = 64 << 20
)

// watch is the state of one Watch across its connections.
type watch struct {
	c     *Client
	jobID string
	fn    func(apiv1.Event) error
	// last is the seq of the last event fn took.
	last int64
	// connected is true once a subscription was confirmed.
	connected bool
	// lostAt is when the connection that is missing was lost: the start, or the
	// end of the last confirmed subscription.
	lostAt time.Time
}

// connection is one connection from dial to close. nil means that the terminal event
// came; a *retryError that another connection may go on.
func (w *watch) connection(ctx context.Context) error {
	conn, err := w.dial(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	pinger := make(chan struct{})
	go func() {
		defer close(pinger)
		ping(ctx, cancel, conn)
	}()
	err = w.subscription(ctx, conn)
	if err == nil {
		// A failed goodbye takes nothing from the reader: all events are there.
		_ = conn.Close(websocket.StatusNormalClosure, "")
	}
	cancel(errWatchOver)
	_ = conn.CloseNow()
	<-pinger
	return err
}

// errWatchOver ends the pinger.
var errWatchOver = errors.New("client: the watch is over")

// dial opens the socket. A refusal that carries an answer of the gateway is
// that answer.
func (w *watch) dial(ctx context.Context) (*websocket.Conn, error) {
	c := w.c
	dialCtx, cancel := context.WithTimeoutCause(ctx, dialTimeout, fmt.Errorf("no WebSocket within %s", dialTimeout))
	defer cancel()
	header := http.Header{}
	c.setHeader(header)
	conn, resp, err := websocket.Dial(dialCtx, c.base.JoinPath("ws").String(), &websocket.DialOptions{
		HTTPClient: c.http, HTTPHeader: header,
	})
	if err == nil {
		conn.SetReadLimit(maxFrame)
		return conn, nil
	}
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, &retryError{cause: c.transportError(ctx, dialCtx, "open WebSocket", err)}
	}
	// The library hands over a bounded copy of the body and has closed it.
	refusal := fromHTTP("open WebSocket", resp)
	var e *Error
	if errors.As(refusal, &e) && !e.Retryable {
		return nil, e
	}
	return nil, asRetry(refusal)
}

// asRetry is a failure after which another connection may go on.
func asRetry(err error) *retryError {
	out := &retryError{cause: err}
	var e *Error
	if errors.As(err, &e) {
		out.after = e.RetryAfter
	}
	return out
}

// ping keeps asking the gateway for a sign of life. It owns nothing: it ends
// with ctx, and ends ctx when no answer comes.
func ping(ctx context.Context, cancel context.CancelCauseFunc, conn *websocket.Conn) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		pingCtx, stop := context.WithTimeout(ctx, pingTimeout)
		err := conn.Ping(pingCtx)
		stop()
		if err != nil {
			cancel(fmt.Errorf("no sign of life within %s: %w", pingTimeout, err))
			return
		}
	}
}

// subscribeID is the id of the only call on the connection.
const subscribeID jsonrpc.ID = "1"

// subscription subscribes and delivers until the log ends or the connection does.
func (w *watch) subscription(ctx context.Context, conn *websocket.Conn) error {
	frame, err := jsonrpc.EncodeCall(subscribeID, apiv1.MethodJobSubscribe, apiv1.SubscribeParams{JobID: w.jobID, After: w.last})
	if err != nil {
		return fmt.Errorf("client: %s: %w", apiv1.MethodJobSubscribe, err)
	}
	answerCtx, cancel := context.WithTimeoutCause(ctx, answerTimeout, fmt.Errorf("no answer within %s", answerTimeout))
	defer cancel()
	if err := conn.Write(answerCtx, websocket.MessageText, frame); err != nil {
		return w.lost(answerCtx, err)
	}
	s := subscription{watch: w}
	defer func() {
		if s.id != "" {
			w.lostAt = time.Now()
		}
	}()
	for {
		readCtx := ctx
		if s.id == "" {
			readCtx = answerCtx
		}
		_, frame, err := conn.Read(readCtx)
		if err != nil {
			return w.lost(readCtx, err)
		}
		messages, err := jsonrpc.DecodeMessages(frame)
		if err != nil {
			return fmt.Errorf("client: watch %s: %w", w.jobID, err)
		}
		for i := range messages {
			if done, err := s.message(ctx, &messages[i]); done || err != nil {
				return err
			}
		}
	}
}

// lost explains why a connection ended.
func (w *watch) lost(ctx context.Context, err error) error {
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return fmt.Errorf("client: watch %s: an event is larger than %d bytes", w.jobID, maxFrame)
	}
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		code := int(closed.Code)
		if code >= 4500 && code <= 4999 {
			return &CloseError{Code: errs.CloseCode(code), Reason: closed.Reason}
		}
		return &retryError{cause: unreachable("watch", err), after: closeHint(closed.Reason)}
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &retryError{cause: unreachable("watch", err)}
}

// closeHint reads how long a closing gateway asks to wait: its reason is
// {"retry_after_ms":N}.
func closeHint(reason string) time.Duration {
	var hint struct {
		RetryAfterMS float64 `json:"retry_after_ms"`
	}
	if json.Unmarshal([]byte(reason), &hint) != nil {
		return 0
	}
	return millis(hint.RetryAfterMS)
}

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
