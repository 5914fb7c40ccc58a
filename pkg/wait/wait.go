package wait

import (
	"context"
	"sync"
	"time"
)

// For waits d, or until ctx ends, and reports whether it waited the whole time.
func For(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// AfterFunc calls f in a goroutine of its own once ctx ends, as the standard
// library's does, and returns what keeps it from that. When f has begun, stop
// waits for its end, so that nothing of f comes after it.
func AfterFunc(ctx context.Context, f func()) (stop func()) {
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return sync.OnceFunc(func() {
		if !cancel() {
			<-done
		}
	})
}
