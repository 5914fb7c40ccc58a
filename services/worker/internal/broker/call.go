package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"time"

	"codexgateway.dev/pkg/wait"
)

// past is a deadline that unblocks a read or a write at once.
func past() time.Time { return time.Unix(1, 0) }

// call is one admitted request of Codex.
type call struct {
	*Broker
	session *Session
	jobID   string
	w       http.ResponseWriter
	rc      *http.ResponseController
	r       *http.Request
	start   time.Time

	status   int // that Codex got, 0 none
	attempts int
	err      error // why it went wrong, for the log
	// served: Codex got the whole response. It then leaves without waiting for
	// the end of the stream, which is no fault.
	served bool
}

// serveHTTP checks the token, then the route, then what the session may do.
func (b *Broker) serveHTTP(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	// Covers refusals too: the server reads the rest of a body before it sends
	// the answer, and would wait for ever for one that does not come.
	if err := rc.SetReadDeadline(time.Now().Add(b.opt.ClientTimeout)); err != nil {
		refuseBody.write(w) // not a connection of this server
		return
	}
	s, known := b.session(r.Header.Get("Authorization"))
	switch {
	case !known:
		refuseToken.write(w)
		return
	case r.URL.Path != route:
		refusePath.write(w)
		return
	case r.Method != http.MethodPost:
		refuseMethod.write(w)
		return
	}
	jobID, deadline, adm := s.begin()
	switch adm {
	case refusedClosed:
		refuseToken.write(w)
		return
	case refusedUnbound:
		refuseUnbound.write(w)
		return
	case refusedBusy:
		refuseBusy.write(w)
		return
	case admitted:
	}
	defer s.end()
	select {
	case b.slots <- struct{}{}:
	default:
		refuseBusy.write(w)
		return
	}
	defer func() { <-b.slots }()
	c := &call{
		Broker: b, session: s, jobID: jobID, w: w, rc: rc, r: r, start: time.Now(),
	}
	c.serve(r.Context(), deadline)
}

func (c *call) serve(ctx context.Context, deadline time.Time) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The kill switch: ends the upstream side through ctx, and Codex's side even
	// if it does not read or write.
	stop := wait.AfterFunc(c.session.ctx, func() { //nolint:contextcheck // the session's context is the point
		cancel(context.Cause(c.session.ctx))
		_ = c.rc.SetReadDeadline(past())
		_ = c.rc.SetWriteDeadline(past())
	})
	defer stop() // the connection is not ours after the call
	if !deadline.IsZero() {
		var end context.CancelFunc
		ctx, end = context.WithDeadlineCause(ctx, deadline, errDeadline)
		defer end()
	}
	defer c.report(ctx)
	body, release, ok := c.read()
	if !ok {
		return
	}
	defer release()
	c.forward(ctx, body)
}

// read takes in the body, which is kept for retries; release gives its share of
// the memory back.
func (c *call) read() (body []byte, release func(), ok bool) {
	size := c.r.ContentLength
	if size > c.opt.MaxBody {
		c.refuse(refuseLarge)
		return nil, nil, false
	}
	if size < 0 {
		size = c.opt.MaxBody
	}
	if !c.buffered.TryAcquire(size) {
		c.refuse(refuseBusy)
		return nil, nil, false
	}
	release = func() { c.buffered.Release(size) }
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, c.opt.MaxBody))
	if err == nil {
		// The server goes on reading to notice that Codex left; no limit for that.
		err = c.rc.SetReadDeadline(time.Time{})
	}
	if err == nil {
		return body, release, true
	}
	release()
	c.w.Header().Set("Connection", "close")
	c.err = err
	switch _, large := errors.AsType[*http.MaxBytesError](err); {
	case large:
		c.refuse(refuseLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.refuse(refuseSlow)
	default:
		c.refuse(refuseBody)
	}
	return nil, nil, false
}

func (c *call) refuse(r refusal) {
	c.status = r.status
	r.write(c.w)
}

// forward asks the model until it streams, the budget is spent or ctx ends.
func (c *call) forward(ctx context.Context, body []byte) {
	header := pick(c.r.Header, requestHeaders)
	for {
		c.attempts++
		c.session.countAttempt()
		o := c.attempt(ctx, header, body)
		if o.stream != nil {
			c.relay(ctx, o)
			return
		}
		c.err = o.err
		if ctx.Err() != nil {
			c.abandon(ctx)
			return
		}
		if !o.retryable || !c.wait(ctx, o) {
			c.answer(ctx, o)
			return
		}
	}
}

// wait spends retry budget and sleeps. It reports whether to try again.
func (c *call) wait(ctx context.Context, o outcome) bool {
	asked, hasAsked := retryAfter(o.header, c.opt.Now())
	d, more := c.session.spend(c.opt.Retry, asked, hasAsked, c.opt.Rand())
	if !more {
		return false
	}
	c.opt.Logger.LogAttrs(ctx, slog.LevelWarn, "model request is retried", c.attrs(
		slog.Int("upstream_status", o.status), slog.String("reason", o.reason), slog.Duration("wait", d))...)
	c.metrics.retried(ctx, o.reason)
	return c.opt.Sleep(ctx, d) == nil
}

// answer passes an upstream error on as it is.
func (c *call) answer(ctx context.Context, o outcome) {
	if ctx.Err() != nil { // the wait was cut short
		c.abandon(ctx)
		return
	}
	c.status = o.status
	_ = c.rc.SetWriteDeadline(time.Now().Add(c.opt.ClientTimeout))
	maps.Copy(c.w.Header(), pick(o.header, responseHeaders))
	c.w.WriteHeader(o.status)
	_, _ = c.w.Write(o.body) // a client that left is owed nothing
}

// abandon ends a call before its first byte because ctx ended.
func (c *call) abandon(ctx context.Context) {
	c.err = context.Cause(ctx)
	if errors.Is(c.err, errDeadline) {
		c.refuse(refuseDeadline)
		return
	}
	panic(http.ErrAbortHandler) // killed, or Codex left: drop the connection
}

// relay passes a stream on, chunk by chunk.
func (c *call) relay(ctx context.Context, o outcome) {
	defer o.stream.close()
	c.session.succeeded()
	c.metrics.streaming(ctx, time.Since(c.start))
	c.status = o.status
	maps.Copy(c.w.Header(), pick(o.header, responseHeaders))
	c.w.WriteHeader(o.status)
	m := meter{found: func(t tokens) {
		c.session.countTokens(t)
		c.metrics.used(ctx, t)
	}}
	var rerr error
	for {
		// Before it is passed on, so that the usage is there when Codex ends the turn.
		m.write(o.stream.chunk)
		if err := c.pass(ctx, o.stream.chunk); err != nil {
			c.err = err
			panic(http.ErrAbortHandler)
		}
		c.served = m.ended
		if rerr != nil {
			break
		}
		rerr = o.stream.read()
	}
	if !errors.Is(rerr, io.EOF) {
		c.err = rerr
		panic(http.ErrAbortHandler) // a clean end would look like a complete stream
	}
}

// pass writes one chunk to Codex and flushes it.
func (c *call) pass(ctx context.Context, chunk []byte) error {
	if err := c.rc.SetWriteDeadline(time.Now().Add(c.opt.ClientTimeout)); err != nil {
		return err
	}
	if ctx.Err() != nil { // looked at after the deadline was set: a kill sets its own after ending ctx
		return context.Cause(ctx)
	}
	if _, err := c.w.Write(chunk); err != nil {
		return err
	}
	return c.rc.Flush()
}

// report logs and counts the call at its end, however it ended.
func (c *call) report(ctx context.Context) {
	c.metrics.answered(ctx, c.status)
	level := slog.LevelDebug
	if c.err != nil && !c.leftServed() || c.status >= http.StatusBadRequest {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.Int("status", c.status)}
	if c.err != nil {
		attrs = append(attrs, slog.String("error", c.err.Error()))
	}
	c.opt.Logger.LogAttrs(ctx, level, "model request", c.attrs(attrs...)...)
}

// leftServed reports whether the call ended because Codex left with a whole
// response.
func (c *call) leftServed() bool {
	return c.served && errors.Is(c.err, context.Canceled)
}

// attrs adds what every line about a call has.
func (c *call) attrs(attrs ...slog.Attr) []slog.Attr {
	return append(attrs, slog.String("job_id", c.jobID), slog.Int("attempt", c.attempts),
		slog.Int64("duration_ms", time.Since(c.start).Milliseconds()))
}
