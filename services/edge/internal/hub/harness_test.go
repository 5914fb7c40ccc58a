package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/eventlog"
)

// fakeLog is one job's log in memory.
type fakeLog struct {
	mu     sync.Mutex
	events []json.RawMessage
	closed bool
	page   int // events a page; 0: the limit
	err    error
	gate   chan struct{} // reads wait for it when set
	reads  atomic.Int64
	tails  atomic.Int64
}

func event(seq int64) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"seq":%d}`, seq)) }

// fakeBus is a subscription that breaks when told to.
type fakeBus struct {
	opened chan struct{}
	broken chan error
}

// append stores n events and returns them as an announcement would carry them.
func (l *fakeLog) append(n int, closed bool) *events.JobProgressed {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &events.JobProgressed{JobID: testJob, FirstSeq: int64(len(l.events)) + 1, Closed: closed}
	for range n {
		e := event(int64(len(l.events)) + 1)
		l.events = append(l.events, e)
		p.Events = append(p.Events, e)
	}
	p.LastSeq = int64(len(l.events))
	l.closed = closed
	return p
}

func (l *fakeLog) Read(ctx context.Context, _ string, after int64, limit int) (*eventlog.Page, error) {
	l.reads.Add(1)
	if l.gate != nil {
		select {
		case <-l.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	if limit == 0 {
		limit = 1000 // as the log's bound in bytes would
	}
	if l.page > 0 {
		limit = min(limit, l.page)
	}
	p := &eventlog.Page{First: after + 1}
	n := int64(len(l.events))
	if after >= n {
		p.Closed = l.closed
		return p, nil
	}
	last := min(n, after+int64(limit))
	p.Events = l.events[after:last]
	p.More = last < n
	p.Closed = l.closed && last == n
	return p, nil
}

func (l *fakeLog) Tail(context.Context, string) (int64, bool, error) {
	l.tails.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.events)), l.closed, l.err
}

func (b *fakeBus) Receive(ctx context.Context, _ string, opt bus.ReceiveOptions, _ bus.Handler) error {
	close(opt.Ready)
	select {
	case b.opened <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	select {
	case err := <-b.broken:
		return err
	case <-ctx.Done():
		return nil
	}
}

func newHub(log Log, opt Options) (*Hub, *fakeBus) {
	b := &fakeBus{opened: make(chan struct{}, 10), broken: make(chan error)}
	return New(log, b, slog.New(slog.DiscardHandler), opt), b
}

// start runs the hub for the length of the test.
func start(t *testing.T, h *Hub) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func announce(t *testing.T, h *Hub, p *events.JobProgressed) {
	t.Helper()
	ev, err := events.New(events.Head{ID: "evt", Source: "/test", Subject: p.JobID, Time: time.Unix(0, 0)}, p)
	if err != nil {
		t.Fatal(err)
	}
	if out := h.handle(t.Context(), &bus.Delivery{Event: ev}); out.Verdict != bus.Ack {
		t.Errorf("verdict %v, want Ack", out.Verdict)
	}
}

func watch(t *testing.T, h *Hub, after int64) *Watcher {
	t.Helper()
	w, err := h.Watch(testJob, after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// seqs reads until the watcher has n events (n < 0: until the log is closed)
// and returns their seqs. It fails on a gap or a repetition.
func seqs(ctx context.Context, w *Watcher, n int) ([]int64, error) {
	var got []int64
	next := w.cursor + 1
	for n < 0 || len(got) < n {
		b, err := w.Next(ctx)
		if err != nil {
			return got, err
		}
		for i, e := range b.Events {
			seq := b.First + int64(i)
			if seq != next || string(e) != string(event(seq)) {
				return got, fmt.Errorf("event %s at seq %d, want seq %d", e, seq, next)
			}
			got = append(got, seq)
			next++
		}
		if b.Closed {
			return got, nil
		}
	}
	return got, nil
}

func want(t *testing.T, w *Watcher, n int, from, to int64) {
	t.Helper()
	got, err := seqs(t.Context(), w, n)
	if err != nil {
		t.Fatal(err)
	}
	var exp []int64
	for s := from; s <= to; s++ {
		exp = append(exp, s)
	}
	if diff := cmp.Diff(exp, got); diff != "" {
		t.Fatalf("seqs (-want +got):\n%s", diff)
	}
}
