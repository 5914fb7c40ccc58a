package sweep

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/job/jobtest"
)

// counting counts what a sweep asks of the store.
type counting struct {
	docstore.Driver

	queries, commits atomic.Int64
}

func (c *counting) Query(ctx context.Context, q docstore.Query) (docstore.Page, error) {
	c.queries.Add(1)
	return c.Driver.Query(ctx, q)
}

func (c *counting) Commit(ctx context.Context, w []docstore.Write) ([]docstore.Version, error) {
	c.commits.Add(1)
	return c.Driver.Commit(ctx, w)
}

func newSweeper(e *jobtest.Env) (*Sweeper, *counting) {
	c := &counting{Driver: e.Fault.Driver}
	e.Fault.Driver = c
	return &Sweeper{
		Jobs: e.Jobs, Docs: e.Docs, Leases: job.NewLeaseWatch(e.Clock.Now),
		Wishes: job.NewCancelWatch(e.Clock.Now), Batch: 100, Upkeep: time.Minute,
		Logger: slog.New(slog.DiscardHandler), Now: e.Clock.Now,
	}, c
}

func TestAnIdleGatewayIsAskedTwoQuestionsAndWritesNothing(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	ended := e.Submit(t, "p") // due for its log's expiry, in a day
	if _, err := e.Jobs.Cancel(t.Context(), jobtest.Tenant, ended.ID, ""); err != nil {
		t.Fatal(err)
	}
	s, c := newSweeper(e)
	const upkeep, idle = 6, 2
	for i, want := range []int64{upkeep + int64(len(purgeable())), idle, idle, idle, upkeep, idle} {
		c.queries.Store(0)
		load := s.Once(t.Context())
		if load.Live() {
			t.Errorf("sweep %d: live: %+v", i, load)
		}
		if n := c.queries.Load(); n != want {
			t.Errorf("sweep %d asked %d queries, want %d", i, n, want)
		}
		e.Clock.Advance(15 * time.Second)
	}
	if n := c.commits.Load(); n != 0 {
		t.Errorf("%d writes", n)
	}
}

func TestASweepSeesTheLiveWork(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	s, _ := newSweeper(e)
	s.Count = 100
	for range 3 {
		e.Submit(t, "p")
	}
	long := submitLong(t, e)
	e.Claim(t, long.ID, "w-long")
	for _, worker := range []string{"w1", "w1", "w2"} {
		e.Claim(t, e.Submit(t, "p").ID, worker)
	}
	want := Load{
		Short: Lane{},
		Long:  Lane{Queued: 3, Running: 4, Workers: map[string]int{"w-long": 1, "w1": 2, "w2": 1}},
	}
	// The default time limit is half an hour: everything here is of lane long.
	if diff := cmp.Diff(want, s.Once(t.Context())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.Count = 0
	if load := s.Once(t.Context()); load.Long.Queued != 1 || !load.Live() {
		t.Errorf("uncounted: %+v", load)
	}
}

func submitLong(t *testing.T, e *jobtest.Env) *job.Job {
	t.Helper()
	j, _, err := e.Jobs.Submit(t.Context(), job.Submission{Tenant: jobtest.Tenant, Spec: job.Spec{Prompt: "p", Timeout: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestAStoreThatDoesNotAnswerLeavesTheLoadUnknown(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	s, _ := newSweeper(e)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if load := s.Once(ctx); !load.Unknown || !load.Live() {
		t.Errorf("%+v", load)
	}
}

func TestALongJobGetsAWorkerInsteadOfAMessage(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	s, _ := newSweeper(e)
	var started []string
	s.Start = func(_ context.Context, jobID string) error {
		started = append(started, jobID)
		return errors.New("none today")
	}
	short, _, err := e.Jobs.Submit(t.Context(), job.Submission{Tenant: jobtest.Tenant, Spec: job.Spec{Prompt: "p", Timeout: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	long := submitLong(t, e)
	s.Once(t.Context())
	if len(started) != 0 {
		t.Errorf("started before the job was due: %v", started)
	}
	e.Clock.Advance(time.Minute)
	s.Once(t.Context())
	if diff := cmp.Diff([]string{long.ID}, started); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
	if n := e.Bus.Count(short.ID, "dev.codexgateway.job.submitted.v1"); n != 2 {
		t.Errorf("the short job was announced %d times, want 2", n)
	}
}
