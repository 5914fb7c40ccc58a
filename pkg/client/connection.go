package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
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
	conn, resp, err := websocket.Dial(dialCtx, c.base.JoinPath("ws").String(), &websocket.DialOptions{ //nolint:bodyclose // the library closes it and hands over a bounded copy
		HTTPClient: c.http, HTTPHeader: header,
	})
	if err == nil {
		conn.SetReadLimit(maxFrame)
		return conn, nil
	}
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, &retryError{cause: c.transportError(ctx, dialCtx, "open WebSocket", err)}
	}
	refusal := fromHTTP("open WebSocket", resp)
	if e, ok := errors.AsType[*Error](refusal); ok && !e.Retryable {
		return nil, e
	}
	return nil, asRetry(refusal)
}

// asRetry is a failure after which another connection may go on.
func asRetry(err error) *retryError {
	out := &retryError{cause: err}
	if e, ok := errors.AsType[*Error](err); ok {
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
	if closed, ok := errors.AsType[websocket.CloseError](err); ok {
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
