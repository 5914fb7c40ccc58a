package jsonrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
)

// DefaultParallel is how many members of one batch run at once.
const DefaultParallel = 8

// Options bound and observe the serving of one frame.
type Options struct {
	Limits Limits
	// Parallel is how many members of a batch run at once; the others wait for
	// their turn. 0 means DefaultParallel.
	Parallel int
	// RequestID is put into the context and into every error's data; empty: a
	// new one.
	RequestID string
	// Before runs once for every member, in the order of the frame, before the
	// member is dispatched: the place for rate limits and scopes. method is
	// empty for what is no valid request, a frame that cannot be read included,
	// so that nonsense is not free. Its error is the member's answer.
	Before func(ctx context.Context, method string) error
	// After runs once for every member when its outcome is known; err is nil on
	// success and carries the internal cause otherwise. It may run from several
	// goroutines. A panic of it is raised again where Serve was called.
	After func(ctx context.Context, method string, took time.Duration, err *errs.Error)
}

// Answer is what one frame came to.
type Answer struct {
	// Body is the frame to send back; nil when only notifications were served.
	Body []byte
	// Err is the outcome of a frame that is a single request or cannot be read
	// at all; nil for success and for every batch whose members were served.
	Err *errs.Error
}

// Status is the HTTP status of the answer: 204 without a body, the error's own
// status where the registry says that the envelope carries it, 200 otherwise.
func (a Answer) Status() int {
	if a.Err != nil {
		if row := errs.Lookup(a.Err.Code); row.Envelope {
			return row.HTTP
		}
	}
	if a.Body == nil {
		return http.StatusNoContent
	}
	return http.StatusOK
}

// PanicError is the cause of the internal error of a method that panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("jsonrpc: panic: %v", e.Value) }

type requestIDKey struct{}

// WithRequestID returns a context that carries a request id.
func WithRequestID(ctx context.Context, requestID string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, requestID)
}

// RequestID is the id of the request being served; empty outside of one.
func RequestID(ctx context.Context) string {
	s, _ := ctx.Value(requestIDKey{}).(string)
	return s
}

// Serve answers one frame: it returns when every member has run. Members of a
// batch run concurrently; their answers keep the order of the batch. When ctx
// ends, members that have not begun are answered overloaded.
func (m *Mux) Serve(ctx context.Context, data []byte, opt Options) Answer {
	if opt.RequestID == "" {
		opt.RequestID = id.New(id.Request)
	}
	ctx = WithRequestID(ctx, opt.RequestID)
	frame, bad := Decode(data, opt.Limits)
	if bad != nil {
		frame = Frame{Requests: []Request{{Err: bad}}}
	}
	if !frame.Batch {
		resp, err := m.serveOne(ctx, &frame.Requests[0], opt)
		return Answer{Body: resp, Err: err}
	}
	return Answer{Body: m.serveBatch(ctx, frame.Requests, opt)}
}

func (m *Mux) serveOne(ctx context.Context, req *Request, opt Options) ([]byte, *errs.Error) {
	start := time.Now()
	err := before(ctx, req, opt)
	var result json.RawMessage
	if err == nil {
		result, err = m.call(ctx, req)
	}
	return finish(ctx, req, opt, start, result, err)
}

func (m *Mux) serveBatch(ctx context.Context, requests []Request, opt Options) []byte {
	parallel := opt.Parallel
	if parallel <= 0 {
		parallel = DefaultParallel
	}
	var (
		answers = make([][]byte, len(requests))
		slots   = make(chan struct{}, parallel)
		running sync.WaitGroup
		// fallen is a panic of a hook: in a goroutine it would end the process, and
		// who called knows how to contain it.
		fallen atomic.Pointer[PanicError]
	)
	for i := range requests {
		req, start := &requests[i], time.Now()
		err := before(ctx, req, opt)
		if err == nil {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		if err != nil {
			answers[i], _ = finish(ctx, req, opt, start, nil, err)
			continue
		}
		running.Go(func() {
			defer func() { <-slots }()
			defer func() {
				if v := recover(); v != nil {
					fallen.CompareAndSwap(nil, &PanicError{Value: v, Stack: debug.Stack()})
				}
			}()
			result, err := m.call(ctx, req)
			answers[i], _ = finish(ctx, req, opt, start, result, err)
		})
	}
	running.Wait()
	if p := fallen.Load(); p != nil {
		panic(p)
	}
	return join(answers)
}

// join builds the array of a batch's answers; nil when there is none.
func join(answers [][]byte) []byte {
	var out []byte
	for _, a := range answers {
		if a == nil {
			continue
		}
		if out == nil {
			out = append(out, '[')
		} else {
			out = append(out, ',')
		}
		out = append(out, a...)
	}
	if out == nil {
		return nil
	}
	return append(out, ']')
}

// before asks the hook, then the request's own validity: the hook counts
// invalid members too.
func before(ctx context.Context, req *Request, opt Options) (err error) {
	defer contain(&err)
	if opt.Before != nil {
		if err := opt.Before(ctx, req.Method); err != nil {
			return err
		}
	}
	if req.Err != nil {
		return req.Err
	}
	return nil
}

// call runs the method.
func (m *Mux) call(ctx context.Context, req *Request) (result json.RawMessage, err error) {
	defer contain(&err)
	method, ok := m.methods[req.Method]
	if !ok {
		return nil, m.unknown()
	}
	return method.call(ctx, req.Params)
}

// contain turns a panic into an error: one bad member must not take the others
// or the process with it.
func contain(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: debug.Stack()}
	}
}

// finish reports the outcome and encodes the answer; nil for a notification.
func finish(ctx context.Context, req *Request, opt Options, start time.Time, result json.RawMessage, err error) ([]byte, *errs.Error) {
	var outcome *errs.Error
	if err != nil {
		outcome = classify(ctx, err)
	}
	if opt.After != nil {
		opt.After(ctx, req.Method, time.Since(start), outcome)
	}
	if req.Notification() {
		return nil, outcome
	}
	resp := Response{ID: req.ID, Result: result}
	if outcome != nil {
		resp.Error = Render(outcome, opt.RequestID)
	}
	return resp.Encode(), outcome
}

// classify gives an error that says nothing itself the code of the context's
// end: a passed deadline is not the gateway's failure, and a request cut off by
// a shutdown can be repeated elsewhere.
func classify(ctx context.Context, err error) *errs.Error {
	var e *errs.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return errs.Wrap(errs.DeadlineExceeded, "", err)
	case ctx.Err() != nil:
		return errs.Wrap(errs.Overloaded, "", err)
	default:
		return errs.From(err)
	}
}
