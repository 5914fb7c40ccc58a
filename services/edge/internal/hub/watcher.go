package hub

import (
	"context"
	"encoding/json"
	"fmt"
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
}

// Next returns the next events, at least one unless the log is closed, and
// waits until there are any. The error is the cause of ctx, [ErrStopped], or
// that of reading the log; after an error Next may be called again.
func (w *Watcher) Next(ctx context.Context) (Batch, error) {
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
			if err := f.wait(ctx); err != nil {
				return Batch{}, err
			}
			continue
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
