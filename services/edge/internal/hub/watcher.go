package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Batch is a run of events: Events[i] has seq First+i, as raw JSON that must
// not be changed. Closed is true when nothing will ever follow; a closed batch
// may be empty.
type Batch struct {
	First  int64
	Events []json.RawMessage
	Closed bool
}

// Last is the seq of the last event, or of the one before First if there is none.
func (b *Batch) Last() int64 { return b.First + int64(len(b.Events)) - 1 }

// Watcher is one reader's position in one job's log. It is used by one
// goroutine at a time and must be closed.
type Watcher struct {
	feed   *feed
	cursor int64
	closed bool
	lag    lag
}

// Next returns the next events, at least one unless the log is closed, and
// waits until there are any. The error is the cause of ctx, [ErrStopped],
// [ErrSlow], or that of reading the log; after any but ErrSlow Next may be
// called again.
func (w *Watcher) Next(ctx context.Context) (Batch, error) {
	w.lag.back(time.Now())
	defer func() { w.lag.gone(time.Now()) }()
	f := w.feed
	for {
		if err := context.Cause(ctx); err != nil {
			return Batch{}, err
		}
		f.mu.Lock()
		if b, ok := f.serve(w.cursor); ok {
			f.mu.Unlock()
			w.cursor = b.Last()
			return b, nil
		}
		if !f.behind(w.cursor) {
			w.lag.caughtUp()
			if err := f.wait(ctx); err != nil {
				return Batch{}, err
			}
			continue
		}
		if w.lag.fell(f.hub.opt.SlowAfter) {
			f.mu.Unlock()
			return Batch{}, ErrSlow
		}
		r := f.join(w.cursor)
		f.mu.Unlock()
		select {
		case <-r.done:
		case <-ctx.Done():
			return Batch{}, context.Cause(ctx)
		}
		if r.err != nil {
			return Batch{}, fmt.Errorf("watch %s: %w", f.jobID, r.err)
		}
		if len(r.page.Events) > 0 || r.page.Closed {
			b := Batch{First: r.page.First, Events: r.page.Events, Closed: r.page.Closed}
			w.cursor = b.Last()
			return b, nil
		}
	}
}

// wait returns when there is news. It is called with the lock held and returns
// without it.
func (f *feed) wait(ctx context.Context) error {
	wake := f.wake
	f.waiting++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.waiting--
		f.mu.Unlock()
	}()
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-f.hub.ctx.Done():
		return ErrStopped
	}
}

// Close gives the watcher up; the feed goes with its last watcher. Closing
// again does nothing.
func (w *Watcher) Close() {
	if w.closed {
		return
	}
	w.closed = true
	w.feed.hub.leave(w.feed)
}

// lag finds a watcher that cannot keep up with its job. A watcher is live once
// it has had all there was; one that only reads history is never slow, however
// long it takes. What counts is the time its reader takes, not the store's.
type lag struct {
	live bool
	// behind is true from the moment a live watcher fell out of the ring until
	// it is live again; spent is what its reader took since.
	behind bool
	spent  time.Duration
	left   time.Time
}

// back and gone frame a call of Next: between two calls the reader works.
func (l *lag) back(now time.Time) {
	if l.behind {
		l.spent += now.Sub(l.left)
	}
}

func (l *lag) gone(now time.Time) { l.left = now }

func (l *lag) caughtUp() { l.live, l.behind, l.spent = true, false, 0 }

// fell notes that the ring does not have what comes next, and reports whether
// that has been so for too long.
func (l *lag) fell(limit time.Duration) bool {
	l.behind = l.behind || l.live
	return l.spent > limit
}
