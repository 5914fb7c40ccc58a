package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/wait"
)

const (
	// defaultGiveUp outlasts a restart, a deploy and a node's replacement.
	defaultGiveUp = 5 * time.Minute

	backoffFirst = 100 * time.Millisecond
	backoffMax   = 5 * time.Second
)

// backoff is exponential with full jitter: watchers that lost one gateway must
// not come back in step.
func backoff(attempt int) time.Duration {
	limit := backoffMax
	if attempt < 7 { // 100 ms * 2^6 is past the limit
		limit = min(backoffFirst<<max(attempt-1, 0), backoffMax)
	}
	return limit/4 + rand.N(limit-limit/4)
}

// Watch calls fn for every event of a job after the given seq (0: from the
// start), once each and in order, until the terminal event, and returns the seq
// of the last event fn took. fn runs on Watch's goroutine; its error ends Watch
// and is returned as it is.
//
// A connection that is lost or closed with a resumable code (4000 to 4499) is
// opened again and resumes after the last event; so do answers that say
// "retryable". Watch ends with an *Error for any other answer, with a
// *CloseError for a code from 4500 on, with a *SequenceError when an event is
// missing, and with ErrUnreachable when the very first connection fails or a
// lost one stays lost for Options.GiveUpAfter.
func (c *Client) Watch(ctx context.Context, jobID string, after int64, fn func(apiv1.Event) error) (last int64, err error) {
	w := &watch{c: c, jobID: jobID, last: after, fn: fn, lostAt: time.Now()}
	for attempt := 1; ; attempt++ {
		seen := w.last
		err := w.connection(ctx)
		var again *retryError
		if !errors.As(err, &again) {
			return w.last, err // nil: the terminal event came
		}
		if ctx.Err() != nil {
			return w.last, fmt.Errorf("client: watch %s: %w", jobID, context.Cause(ctx))
		}
		neverThere := !w.connected && errors.Is(again.cause, ErrUnreachable)
		// A connection that delivered is a new loss: it gets a try, however long
		// this process was kept from running meanwhile.
		fresh := w.last > seen
		if neverThere || !fresh && time.Since(w.lostAt) > c.opt.GiveUpAfter {
			return w.last, again.cause
		}
		if fresh {
			attempt = 1
		}
		pause := max(c.opt.Backoff(attempt), again.after)
		c.opt.Logger.InfoContext(ctx, "watch reconnects",
			slog.String("job_id", jobID), slog.Int64("last_seq", w.last), slog.Int("attempt", attempt),
			slog.Duration("wait", pause), slog.Any("cause", again.cause))
		if !wait.For(ctx, pause) {
			return w.last, fmt.Errorf("client: watch %s: %w", jobID, context.Cause(ctx))
		}
	}
}

// retryError is a failure after which another connection may go on.
type retryError struct {
	cause error
	// after is how long the gateway asked to wait.
	after time.Duration
}

func (e *retryError) Error() string { return e.cause.Error() }
func (e *retryError) Unwrap() error { return e.cause }
