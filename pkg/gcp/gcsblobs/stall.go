package gcsblobs

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// stalledError ends a request in which nothing has moved. It is temporary, so
// that the library tries again where that is safe.
type stalledError struct{ limit time.Duration }

func (e *stalledError) Error() string { return "no byte moved for " + e.limit.String() }
func (*stalledError) Temporary() bool { return true }
func (*stalledError) Timeout() bool   { return true }

// stallGuard gives every request a deadline that moves on with its bytes: a
// fixed one would either cut big transfers or let dead ones hang.
type stallGuard struct {
	next  http.RoundTripper
	limit time.Duration
}

// RoundTrip implements http.RoundTripper.
func (g *stallGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	stalled := &stalledError{g.limit}
	timer := time.AfterFunc(g.limit, func() { cancel(stalled) })
	r = r.Clone(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &sending{ReadCloser: r.Body, timer: timer, limit: g.limit}
	}
	resp, err := g.next.RoundTrip(r)
	timer.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), stalled) {
			err = stalled
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &receiving{ReadCloser: resp.Body, timer: timer, limit: g.limit, stalled: stalled, ctx: ctx, cancel: cancel}
	return resp, nil
}

// sending is a request's body: the time between two reads is the network's, the
// time within one is the producer's and does not count.
type sending struct {
	io.ReadCloser
	timer *time.Timer
	limit time.Duration
}

func (s *sending) Read(p []byte) (int, error) {
	s.timer.Stop()
	n, err := s.ReadCloser.Read(p)
	s.timer.Reset(s.limit)
	return n, err
}

// receiving is an answer's body: the time within a read is the network's.
type receiving struct {
	io.ReadCloser
	timer   *time.Timer
	limit   time.Duration
	stalled *stalledError
	ctx     context.Context //nolint:containedctx // the request's, which ends with its body
	cancel  context.CancelCauseFunc
}

func (s *receiving) Read(p []byte) (int, error) {
	s.timer.Reset(s.limit)
	n, err := s.ReadCloser.Read(p)
	s.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(context.Cause(s.ctx), s.stalled) {
		err = s.stalled
	}
	return n, err
}

func (s *receiving) Close() error {
	s.timer.Stop()
	err := s.ReadCloser.Close()
	s.cancel(nil)
	return err
}
