package worker_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/embedded/membus"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/worker"
)

// requests is a bus whose first delivery of a job ends when the test says, as
// pushed ones do with their requests. It counts the openings of each subscription.
type requests struct {
	*membus.Bus

	end context.CancelFunc // ends the first request
	ctx context.Context    //nolint:containedctx // the life of the first request

	mu        sync.Mutex
	opened    map[string]int
	delivered int
}

func newRequests(t *testing.T, b *bench) *requests {
	t.Helper()
	r := &requests{Bus: membus.New(events.Topics, events.Subscriptions, membus.Options{Logger: slog.New(slog.DiscardHandler)}), opened: map[string]int{}}
	r.ctx, r.end = context.WithCancel(context.Background())
	t.Cleanup(r.end)
	b.bus = bus.New(r, bus.Options{Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := b.bus.Close(); err != nil {
			t.Error(err)
		}
	})
	b.jobs.Bus = b.bus
	return r
}

// Receive implements bus.Driver.
func (r *requests) Receive(ctx context.Context, sub string, opt bus.ReceiveOptions, h bus.Handler) error {
	r.mu.Lock()
	r.opened[sub]++
	r.mu.Unlock()
	return r.Bus.Receive(ctx, sub, opt, func(ctx context.Context, d *bus.Delivery) bus.Outcome {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		r.mu.Lock()
		if d.Event.Type() == events.TypeJobSubmittedV1 {
			r.delivered++
		}
		first := r.delivered == 1
		r.mu.Unlock()
		if first {
			defer context.AfterFunc(r.ctx, cancel)() //nolint:contextcheck // the test ends it
		}
		return h(ctx, d)
	})
}

func (r *requests) count(sub string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opened[sub]
}

func running(j *job.Job) bool { return j.State == job.Running }

func push(c *worker.Config) { c.Intake, c.Lanes = worker.IntakePush, []string{job.LaneShort} }

func TestAPushedJobWhoseRequestEndsIsHandedBack(t *testing.T) {
	t.Parallel()
	b := open(t)
	r := newRequests(t, b)
	defer b.start(t, push)()
	j := b.submit(t, "mock: hang")
	b.await(t, j.ID, running)
	r.end()
	// It is queued, and soon claimed again from the message that told of it.
	b.await(t, j.ID, func(j *job.Job) bool {
		page, err := b.jobs.Log.Read(t.Context(), j.ID, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return j.Attempt == 1 && slices.ContainsFunc(page.Events, func(e json.RawMessage) bool {
			return strings.Contains(string(e), `"reason":"shutdown"`)
		})
	})
}

func TestAPulledJobOutlivesItsMessage(t *testing.T) {
	t.Parallel()
	b := open(t)
	r := newRequests(t, b)
	defer b.start(t)()
	j := b.submit(t, "mock: slow-first 3000\nmock: say done")
	b.await(t, j.ID, running)
	r.end()
	if got := b.await(t, j.ID, ended); got.State != job.Completed || got.Attempt != 1 {
		t.Errorf("job ended as %s in attempt %d", got.State, got.Attempt)
	}
}

func TestQuiesceHandsJobsBackBeforeTheWorkerIsCancelled(t *testing.T) {
	t.Parallel()
	b := open(t)
	newRequests(t, b)
	w := b.build(t, push)
	done := make(chan error, 1)
	go func() { done <- w.Run(context.Background()) }()
	j := b.submit(t, "mock: hang")
	b.await(t, j.ID, running)
	if err := w.Quiesce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := b.await(t, j.ID, func(*job.Job) bool { return true }); got.State != job.Queued || !got.HandedBack {
		t.Errorf("job is %s, handed back %v", got.State, got.HandedBack)
	}
}

func TestTheControlSubscriptionIsOpenedForTheFirstJob(t *testing.T) {
	t.Parallel()
	b := open(t)
	r := newRequests(t, b)
	w := b.build(t, push)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	if err := w.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := r.count(events.SubJobControlWorker); n != 0 {
		t.Errorf("opened %d times without a job", n)
	}
	j := b.submit(t, "mock: hang")
	b.await(t, j.ID, running)
	if _, err := b.jobs.Cancel(t.Context(), "default", j.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	if got := b.await(t, j.ID, ended); got.State != job.Cancelled {
		t.Errorf("job ended as %s", got.State)
	}
	next := b.submit(t, "mock: say done")
	b.await(t, next.ID, ended)
	if n := r.count(events.SubJobControlWorker); n != 1 {
		t.Errorf("opened %d times for two jobs", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// once makes a worker one of one job.
func once(jobID string) func(*worker.Config) {
	return func(c *worker.Config) { c.Intake, c.JobID = worker.IntakeOnce, jobID }
}

func TestAWorkerOfOneJobEndsWithIt(t *testing.T) {
	t.Parallel()
	b := open(t)
	j := b.submit(t, "mock: say done")
	other := b.submit(t, "mock: say done")
	for range 2 { // the second finds it ended
		if err := b.build(t, once(j.ID)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.await(t, j.ID, func(*job.Job) bool { return true }); got.State != job.Completed || got.Attempt != 1 {
		t.Errorf("job is %s after attempt %d", got.State, got.Attempt)
	}
	if got := b.await(t, other.ID, func(*job.Job) bool { return true }); got.State != job.Queued {
		t.Errorf("another job is %s", got.State)
	}
	if err := b.build(t, once(id.New(id.Job))).Run(t.Context()); err == nil {
		t.Error("a job that does not exist was no failure")
	}
}

func TestAWorkerOfOneJobLeavesALeasedOneAlone(t *testing.T) {
	t.Parallel()
	b := open(t)
	j := b.submit(t, "mock: say done")
	held, err := b.jobs.Claim(t.Context(), j.ID, job.ClaimOptions{Worker: "w", Lease: time.Minute, DeltaDelay: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Abandon(context.Canceled)
	if err := b.build(t, once(j.ID)).Run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAStoppedWorkerOfOneJobHandsItBack(t *testing.T) {
	t.Parallel()
	b := open(t)
	j := b.submit(t, "mock: hang")
	w := b.build(t, once(j.ID))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	b.await(t, j.ID, running)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := b.await(t, j.ID, func(*job.Job) bool { return true }); got.State != job.Queued || !got.HandedBack {
		t.Errorf("job is %s, handed back %v", got.State, got.HandedBack)
	}
}
