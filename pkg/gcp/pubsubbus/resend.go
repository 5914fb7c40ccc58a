package pubsubbus

import (
	"context"
	"time"

	"github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc/codes"
)

const (
	// flushLimit is how long Close lets the library send what callers have given
	// up on: it goes on for publishTimeout, and a process that is to end has
	// seconds. Documents repair what is not told.
	flushLimit = 2 * time.Second
	// resendMax bounds the pause between two tries of a batch. The library's own
	// grow to a minute, which nothing cuts short.
	resendMax = time.Second
)

// resend is the library's retry of a batch, until the driver has no more time.
type resend struct {
	gax.Retryer

	over context.Context //nolint:containedctx // the end of the driver, not of a call
}

func newResend(over context.Context) gax.Retryer {
	// The codes are those of the library.
	return &resend{over: over, Retryer: gax.OnCodes([]codes.Code{
		codes.Aborted, codes.Canceled, codes.Internal, codes.ResourceExhausted, codes.Unknown, codes.Unavailable, codes.DeadlineExceeded,
	}, gax.Backoff{Initial: 100 * time.Millisecond, Max: resendMax, Multiplier: 2})}
}

// Retry implements gax.Retryer.
func (r *resend) Retry(err error) (pause time.Duration, again bool) {
	if r.over.Err() != nil {
		return 0, false
	}
	return r.Retryer.Retry(err)
}
