package hub

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge/internal/ondemand"
)

// Bounds of a hub.
const (
	// wholePage lets a read return all it has decoded, which the log bounds in
	// bytes: what a limit in events cut off would be decoded again.
	wholePage = 0
	// maxReads is how many reads of the log run at once; the others wait. A page
	// is megabytes, so this bounds memory as well as load on the store.
	maxReads = 16
	// maxChecks is how many position checks run at once.
	maxChecks = 8
	// receiveOutstanding is how many announcements are handled at once. Handling
	// is decoding only; the order does not matter.
	receiveOutstanding = 64
	readTimeout        = 15 * time.Second
)

var (
	// ErrStopped means the hub has ended: this instance goes away.
	ErrStopped = errors.New("hub: stopped")
	// ErrSlow ends a watcher that was live and cannot keep up with its job: its
	// client must come back and resume, or it would fall behind for ever.
	ErrSlow = errors.New("hub: the reader is slower than its job")

	errReadTimeout = errors.New("hub: reading the log took too long")
)

// Log is how the hub reads the logs of jobs, whatever their age.
type Log interface {
	Read(ctx context.Context, job string, after int64, limit int) (*eventlog.Page, error)
	Tail(ctx context.Context, job string) (last int64, closed bool, err error)
}

var _ Log = job.Events{}

// Options tune a hub; zero values are the documented defaults.
type Options struct {
	// RingBytes bounds the events one feed keeps in memory: 1 MiB. It is the
	// queue of each live watcher: how far it may be behind before it is slow.
	RingBytes int
	// SlowAfter is how long the reader of a live watcher that fell out of the
	// ring may take, in all, to be live again: 10 s. Past it Next is ErrSlow.
	SlowAfter time.Duration
	// CheckEvery is how often a feed that hears nothing looks at its log: 5 s.
	// What the bus lost without a trace is found within it.
	CheckEvery time.Duration
	// PollEvery takes the place of CheckEvery while the hub hears nothing live,
	// before the subscription is open or after it broke: 1 s.
	PollEvery time.Duration
	// IdleAfter is how long the subscription stays open without a watcher: 10 min.
	IdleAfter time.Duration
	// MaxWatchers is how many watchers there may be; past it Watch is refused
	// with overloaded: 20,000.
	MaxWatchers int
}

// Hub distributes job logs to watchers. One Run, any number of watchers.
type Hub struct {
	log    Log
	bus    bus.Receiver
	logger *slog.Logger
	opt    Options
	slots  chan struct{}

	// ctx is the life of the hub's own goroutines; Run ends it.
	ctx    context.Context //nolint:containedctx // a shared read outlives the call that began it
	cancel context.CancelCauseFunc
	// live is true while live batches are heard; turned, of capacity 1, tells
	// the check loop that it changed.
	live   atomic.Bool
	turned chan struct{}
	// subscription carries them, and is wanted while there is a feed.
	subscription *ondemand.Subscription

	mu       sync.RWMutex
	feeds    map[string]*feed
	watchers int
	// watched counts calls of Watch.
	watched int64
	stopped bool
	work    sync.WaitGroup
}

// New returns a hub that hears nothing until Run.
func New(log Log, b bus.Receiver, logger *slog.Logger, opt Options) *Hub {
	if opt.RingBytes <= 0 {
		opt.RingBytes = 1 << 20
	}
	if opt.SlowAfter <= 0 {
		opt.SlowAfter = 10 * time.Second
	}
	if opt.CheckEvery <= 0 {
		opt.CheckEvery = 5 * time.Second
	}
	if opt.PollEvery <= 0 {
		opt.PollEvery = time.Second
	}
	if opt.IdleAfter <= 0 {
		opt.IdleAfter = 10 * time.Minute
	}
	if opt.MaxWatchers <= 0 {
		opt.MaxWatchers = 20_000
	}
	h := &Hub{
		log: log, bus: b, logger: logger, opt: opt,
		slots:  make(chan struct{}, maxReads),
		turned: make(chan struct{}, 1),
		feeds:  make(map[string]*feed),
	}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	h.subscription = h.listening()
	return h
}

// Run hears live batches while there are watchers and checks positions until
// ctx ends, then ends every watcher with ErrStopped and waits for reads under
// way. An error means that the subscription can never be opened.
func (h *Hub) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var loops sync.WaitGroup
	loops.Go(func() { h.checkLoop(ctx) })
	err := h.liveLoop(ctx)
	cancel()
	loops.Wait()
	h.stop()
	return err
}

// stop ends every watcher and waits for reads under way; none begins after it.
func (h *Hub) stop() {
	h.mu.Lock()
	h.stopped = true
	h.mu.Unlock()
	h.cancel(ErrStopped)
	h.work.Wait()
}

// handle takes one announcement. A batch of a job nobody watches here costs a
// map lookup: it is not even decoded.
func (h *Hub) handle(ctx context.Context, d *bus.Delivery) bus.Outcome {
	done := bus.Outcome{Verdict: bus.Ack}
	h.mu.RLock()
	f := h.feeds[d.Event.Subject()]
	h.mu.RUnlock()
	if f == nil {
		return done
	}
	payload, err := events.Decode(&d.Event)
	if err != nil {
		h.logger.WarnContext(ctx, "job progress cannot be read, the log will be",
			slog.String("job_id", f.jobID), slog.String("event_id", d.Event.ID()))
		return done
	}
	p, ok := payload.(*events.JobProgressed)
	if !ok || p.JobID != f.jobID || p.FirstSeq < 1 || p.LastSeq < p.FirstSeq {
		return done
	}
	carried := p.Events
	if int64(len(carried)) != p.LastSeq-p.FirstSeq+1 {
		carried = nil // too large for a message, or not what it says: read the log
	}
	f.live(p.FirstSeq, p.LastSeq, p.Closed, carried)
	return done
}

// Watch starts watching a job after a seq (0: from the start). Whether the
// caller may see the job is the caller's business. overloaded: too many watch.
func (h *Hub) Watch(jobID string, after int64) (*Watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return nil, ErrStopped
	}
	if h.watchers >= h.opt.MaxWatchers {
		return nil, errs.New(errs.Overloaded, "Too many streams are open.")
	}
	f := h.feeds[jobID]
	if f == nil {
		f = newFeed(h, jobID)
		h.feeds[jobID] = f // from here on live batches are heard; only then is the log read
		h.subscription.Want()
	}
	f.watchers++
	h.watchers++
	h.watched++
	return &Watcher{feed: f, cursor: after}, nil
}

// leave takes a watcher off its feed.
func (h *Hub) leave(f *feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers--
	f.watchers--
	if f.watchers == 0 {
		delete(h.feeds, f.jobID)
	}
}

// spawn runs work that the hub waits for at its end; false: the hub has ended.
func (h *Hub) spawn(work func(ctx context.Context)) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.stopped {
		return false
	}
	h.work.Go(func() { work(h.ctx) })
	return true
}
