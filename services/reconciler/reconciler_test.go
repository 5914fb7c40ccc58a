package reconciler_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/job/jobtest"
	"codexgateway.dev/services/reconciler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs n reconcilers on one store until the test ends.
func start(t *testing.T, e *jobtest.Env, n int, cfg reconciler.Config) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, n)
	for range n {
		s, err := reconciler.New(cfg, reconciler.Deps{
			Jobs: e.Store(t), Docs: e.Docs, Logger: slog.New(slog.DiscardHandler), Now: e.Clock.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- s.Run(ctx) }()
	}
	t.Cleanup(func() {
		stop()
		for range n {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

var quick = reconciler.Config{Interval: 5 * time.Millisecond, Batch: 100}

// until waits for a condition that the reconciler brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("not in time: " + what)
		}
	}
}

func state(t *testing.T, e *jobtest.Env, jobID string) *job.Job {
	t.Helper()
	j, err := e.Jobs.Get(t.Context(), jobtest.Tenant, jobID)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestTwoReconcilersRequeueALostJobOnce(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "p")
	e.Claim(t, j.ID, "w").Abandon(errors.New("killed"))
	start(t, e, 2, quick)
	e.Clock.Advance(90 * time.Second) // past any difference of clocks
	until(t, "requeued", func() bool { return state(t, e, j.ID).State == job.Queued })
	h := e.Claim(t, j.ID, "w2")
	if err := h.Finish(t.Context(), job.Result{State: job.Completed}); err != nil {
		t.Fatal(err)
	}
	page, err := e.Jobs.Log.Read(t.Context(), j.ID, 0, 0)
	if err != nil || len(page.Events) != 5 || !page.Closed {
		t.Errorf("%d events, closed %v, %v", len(page.Events), page.Closed, err)
	}
}

func TestAnUnclaimedJobIsAnnouncedAgain(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "p")
	start(t, e, 1, quick)
	e.Clock.Advance(11 * time.Second)
	until(t, "announced again", func() bool { return e.Bus.Count(j.ID, events.TypeJobSubmittedV1) == 2 })
}

func TestAtStartEveryQueuedJobIsAnnounced(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "p")
	cfg := quick
	cfg.AnnounceAtStart = true
	start(t, e, 1, cfg)
	until(t, "announced", func() bool { return e.Bus.Count(j.ID, events.TypeJobSubmittedV1) == 2 })
}

func TestALostJobWithoutAttemptsFails(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "p")
	start(t, e, 1, quick)
	for range job.MaxAttempts {
		until(t, "queued", func() bool { return state(t, e, j.ID).State == job.Queued })
		e.Claim(t, j.ID, "w").Abandon(errors.New("killed"))
		e.Clock.Advance(90 * time.Second) // past any difference of clocks
	}
	until(t, "failed", func() bool { return state(t, e, j.ID).State == job.Failed })
	if got := state(t, e, j.ID); got.Error.Code != string(errs.WorkerLost) {
		t.Errorf("%+v", got.Error)
	}
}

func TestAStoreThatIsAwayIsTriedAgain(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "p")
	e.Claim(t, j.ID, "w").Abandon(errors.New("killed"))
	away := jobtest.Rule{Collection: job.Collection, Err: docstore.ErrUnavailable}
	e.Fault.Next(away, away, away)
	start(t, e, 1, quick)
	e.Clock.Advance(90 * time.Second) // past any difference of clocks
	until(t, "requeued", func() bool { return state(t, e, j.ID).State == job.Queued })
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := reconciler.New(quick, reconciler.Deps{}); err == nil {
		t.Error("no dependencies were accepted")
	}
}
