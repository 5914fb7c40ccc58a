package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
)

// Bounds of a hub.
const (
	// pageEvents is how many events one read of the log fetches.
	pageEvents = 1000
	// maxReads is how many reads of the log run at once; the others wait. A page
	// is megabytes, so this bounds memory as well as load on the store.
	maxReads = 16
	// maxChecks is how many position checks run at once.
	maxChecks = 8
	// receiveOutstanding is how many announcements are handled at once. Handling
	// is decoding only; the order does not matter.
	receiveOutstanding = 64
	// receiveRetry is the pause before a broken subscription is opened again.
	receiveRetry = time.Second
	readTimeout  = 15 * time.Second
)

var (
	// ErrStopped means the hub has ended: this instance goes away.
	ErrStopped = errors.New("hub: stopped")

	errReadTimeout = errors.New("hub: reading the log took too long")
)

// Log is how the hub reads the logs of jobs, whatever their age.
type Log interface {
	Read(ctx context.Context, job string, after int64, limit int) (*eventlog.Page, error)
	Tail(ctx context.Context, job string) (last int64, closed bool, err error)
}

var _ Log = job.Events{}

// Receiver is the part of the bus the hub hears.
type Receiver interface {
	Receive(ctx context.Context, subscription string, opt bus.ReceiveOptions, h bus.Handler) error
}

var _ Receiver = (*bus.Bus)(nil)

// Options tune a hub; zero values are the documented defaults.
type Options struct {
	// RingBytes bounds the events one feed keeps in memory: 1 MiB.
	RingBytes int
	// CheckEvery is how often a feed that hears nothing looks at its log: 5 s.
	CheckEvery time.Duration
	// MaxWatchers is how many watchers there may be; past it Watch is refused
	// with overloaded: 20,000.
	MaxWatchers int
}

// Hub distributes job logs to watchers. One Run, any number of watchers.
type Hub struct {
	log    Log
	bus    Receiver
	logger *slog.Logger
	opt    Options
	slots  chan struct{}

	// ctx is the life of the hub's own goroutines; Run ends it.
	ctx    context.Context //nolint:containedctx // a shared read outlives the call that began it
	cancel context.CancelCauseFunc
	ready  chan struct{}
	once   sync.Once // closes ready

	mu       sync.RWMutex
	feeds    map[string]*feed
	watchers int
	stopped  bool
	work     sync.WaitGroup
}

// New returns a hub that hears nothing until Run.
func New(log Log, b Receiver, logger *slog.Logger, opt Options) *Hub {
	if opt.RingBytes <= 0 {
		opt.RingBytes = 1 << 20
	}
	if opt.CheckEvery <= 0 {
		opt.CheckEvery = 5 * time.Second
	}
	if opt.MaxWatchers <= 0 {
		opt.MaxWatchers = 20_000
	}
	h := &Hub{
		log: log, bus: b, logger: logger, opt: opt,
		slots: make(chan struct{}, maxReads),
		ready: make(chan struct{}),
		feeds: make(map[string]*feed),
	}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	return h
}

// Ready is closed once the hub hears live batches.
func (h *Hub) Ready() <-chan struct{} { return h.ready }

// Done is closed once the hub has ended, by the end of Run's context or by a
// subscription that cannot be opened.
func (h *Hub) Done() <-chan struct{} { return h.ctx.Done() }

// Run hears live batches and checks positions until ctx ends, then ends every
// watcher with ErrStopped and waits for reads under way. An error means that
// the subscription cannot be opened at all.
func (h *Hub) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var loops sync.WaitGroup
	loops.Go(func() { h.checkLoop(ctx) })
	err := h.receiveLoop(ctx)
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

// receiveLoop keeps the subscription open. While it is not, position checks
// alone carry the watchers.
func (h *Hub) receiveLoop(ctx context.Context) error {
	for {
		heard := make(chan struct{})
		over := make(chan struct{})
		var announce sync.WaitGroup
		announce.Go(func() {
			select {
			case <-heard:
				h.once.Do(func() { close(h.ready) })
				// What was published while nobody listened is in the log only.
				h.check(ctx, h.all())
			case <-over:
			}
		})
		err := h.bus.Receive(ctx, events.SubJobProgressEdge, bus.ReceiveOptions{
			MaxOutstanding: receiveOutstanding, Ready: heard,
		}, h.handle)
		close(over)
		announce.Wait()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whatever ended the subscription, the stop was asked for
		}
		switch {
		case errors.Is(err, bus.ErrClosed), errors.Is(err, bus.ErrInvalid), errors.Is(err, bus.ErrUnknownTopic):
			return fmt.Errorf("hub: %w", err)
		}
		h.logger.WarnContext(ctx, "job progress subscription broke, opening it again", slog.Any("error", err))
		retry := time.NewTimer(receiveRetry)
		select {
		case <-retry.C:
		case <-ctx.Done():
			retry.Stop()
			return nil
		}
	}
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
	}
	f.watchers++
	h.watchers++
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
