package watch

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Record is what one watcher was told.
type Record struct {
	JobID     string
	Transport string
	// Seen are the events in the order they came, over all connections.
	Seen []Event
	// Reconnects counts connections after the first.
	Reconnects int
	// Done is true when the gateway said that the log has ended.
	Done bool
	// Misread is what the gateway said that cannot be: empty in a good run.
	Misread string
}

// Watcher follows one job.
type Watcher struct {
	Gateway   *Gateway
	JobID     string
	Transport string
	// Stay bounds how long a connection is kept before the watcher leaves by
	// itself; 0: as long as it holds.
	Stay time.Duration
	// On hears of every event as it comes; nil: nobody does.
	On func(Event)
}

// Times of a watcher.
const (
	// again bounds the pause before a new connection.
	againMin, againMax = 20 * time.Millisecond, 400 * time.Millisecond
	// farewells is how many connections after the terminal event it takes to
	// believe that nothing follows, when each of them breaks.
	farewells = 5
)

// Run follows the job to the end of its log, or until ctx ends, and returns what
// it was told.
func (w *Watcher) Run(ctx context.Context) Record {
	r := Record{JobID: w.JobID, Transport: w.Transport}
	after, ended, left := int64(0), false, farewells
	for ctx.Err() == nil {
		err := w.connection(ctx, after, func(e Event) {
			r.Seen = append(r.Seen, e)
			after = max(after, e.Seq)
			ended = ended || Terminal(e.Type)
			if w.On != nil {
				w.On(e)
			}
		})
		switch {
		case errors.Is(err, errMisread):
			r.Misread = err.Error()
			return r
		case err == nil && ended, Final(err):
			r.Done = err == nil
			return r
		case ended:
			if left--; left == 0 {
				return r
			}
		}
		r.Reconnects++
		if !pause(ctx, againMin+rand.N(againMax-againMin)) {
			break
		}
	}
	return r
}

// connection follows the job over one connection, and leaves when it feels so.
func (w *Watcher) connection(ctx context.Context, after int64, fn func(Event)) error {
	if w.Stay > 0 && rand.IntN(3) > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, rand.N(w.Stay)+time.Millisecond)
		defer cancel()
	}
	return reads[w.Transport](ctx, w.Gateway, w.JobID, after, fn)
}

// pause waits d or until ctx ends, and reports whether it waited.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
