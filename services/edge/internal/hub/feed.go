package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"codexgateway.dev/pkg/eventlog"
)

// feed is what one instance knows of one job's log. It lives as long as the
// job has a watcher here.
type feed struct {
	hub   *Hub
	jobID string
	// watchers is guarded by Hub.mu.
	watchers int

	mu   sync.Mutex
	ring ring
	// known is the highest seq the log is known to have. Once synced is true
	// every later event is announced, or found by the position check: a watcher
	// at known has nothing to read.
	known  int64
	synced bool
	// end is the seq of the event that closed the log; 0: open as far as known.
	end int64
	// waiting counts watchers that have nothing to read.
	waiting int
	// heard is true when news came since the last look of the check loop, idle
	// how many looks in a row nothing came.
	heard bool
	idle  int
	// wake is closed, and replaced, when there is news for those who wait.
	wake chan struct{}
	// reads are the log reads under way, by the seq they begin after.
	reads map[int64]*read
}

// read is one read of the log, shared by all watchers at its position.
type read struct {
	done chan struct{}
	page *eventlog.Page
	err  error
}

func newFeed(h *Hub, jobID string) *feed {
	return &feed{
		hub: h, jobID: jobID, ring: ring{max: h.opt.RingBytes},
		wake: make(chan struct{}), reads: make(map[int64]*read),
	}
}

// live takes one announced batch; events is empty when the batch was too large
// for a message.
func (f *feed) live(first, last int64, closed bool, events []json.RawMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = true
	f.ring.add(first, events)
	f.known = max(f.known, last)
	if closed {
		f.end = last
	}
	f.broadcast()
}

// position takes what the log itself says about its end.
func (f *feed) position(last int64, closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last <= f.known && (!closed || f.end == last) {
		return
	}
	f.known = max(f.known, last)
	if closed {
		f.end = last
	}
	f.broadcast()
}

// quiet reports whether the feed's position is worth a look: somebody waits, and
// nothing was heard since the last call. It is called twice in CheckEvery and
// says yes to every other silent call, the first included: so a loss is found
// within CheckEvery even right after news, and silence costs one look in it.
func (f *feed) quiet() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting == 0 || f.heard {
		f.heard, f.idle = false, 0
		return false
	}
	f.idle++
	return f.idle%2 == 1
}

// awaited reports whether somebody waits for news.
func (f *feed) awaited() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting > 0
}

// broadcast wakes those who wait. The lock is held.
func (f *feed) broadcast() {
	if f.waiting == 0 {
		return
	}
	close(f.wake)
	f.wake = make(chan struct{})
}

// serve answers a watcher from memory; false if it has to read or to wait. The
// lock is held.
func (f *feed) serve(cursor int64) (Batch, bool) {
	b := Batch{First: cursor + 1}
	if f.end > 0 && cursor >= f.end {
		b.Closed = true
		return b, true
	}
	b.Events = f.ring.from(cursor + 1)
	b.Closed = f.end > 0 && b.Last() == f.end
	return b, len(b.Events) > 0
}

// behind reports whether the log has, or may have, something after cursor. The
// lock is held.
func (f *feed) behind(cursor int64) bool {
	return !f.synced || cursor < f.known || cursor < f.end
}

// join returns the read that begins after cursor, starting it if nobody has.
// The lock is held.
func (f *feed) join(cursor int64) *read {
	if r, ok := f.reads[cursor]; ok {
		return r
	}
	r := &read{done: make(chan struct{})}
	f.reads[cursor] = r
	known := f.known
	started := f.hub.spawn(func(ctx context.Context) {
		page, err := f.hub.readLog(ctx, f.jobID, cursor)
		f.finish(r, cursor, known, page, err)
	})
	if !started {
		delete(f.reads, cursor)
		r.err = ErrStopped
		close(r.done)
	}
	return r
}

// finish learns from a page. known is what was known when the read began.
func (f *feed) finish(r *read, cursor, known int64, page *eventlog.Page, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.reads, cursor)
	r.page, r.err = page, err
	close(r.done)
	if err != nil {
		return
	}
	last := page.Last()
	switch {
	case len(page.Events) > 0:
		f.ring.add(page.First, page.Events)
		f.known = max(f.known, last)
		if page.More {
			f.known = max(f.known, last+1)
		}
		if page.Closed {
			f.end = last
		}
	case page.Closed && (f.end == 0 || f.end > cursor):
		// The log ended at or before the cursor; a watcher may have asked for
		// more than there ever was, so this is only an upper bound of the end.
		f.end = cursor
	case f.known == known && known > cursor:
		// The log has nothing where something was announced. The log is the
		// truth: without this the watcher would read again and again.
		f.known = cursor
	default:
		f.known = max(f.known, cursor)
	}
	// A page with more behind it does not say how far the log reaches.
	f.synced = f.synced || !page.More
	f.broadcast()
}

// readLog reads one page, within the bounds of time and of reads at once.
func (h *Hub) readLog(ctx context.Context, jobID string, after int64) (*eventlog.Page, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, errReadTimeout)
	defer cancel()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("hub: wait to read: %w", context.Cause(ctx))
	}
	page, err := h.log.Read(ctx, jobID, after, wholePage)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
		}
		return nil, fmt.Errorf("hub: %w", err)
	}
	return page, nil
}
