package reconciler_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/reconciler"
)

var sparing = reconciler.Config{
	Interval: time.Second, IdleInterval: 15 * time.Second, Upkeep: time.Minute, Batch: 100,
	ExecutionRetry: 3 * time.Minute, PoolJobsPerInstance: 2, PoolMax: 5, PoolShrinkAfter: time.Minute,
}

func with(change func(*reconciler.Config)) reconciler.Config {
	c := sparing
	change(&c)
	return c
}

func TestSweepsAreRareWithoutWorkAndFrequentWithIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		run(t, w.build(t, sparing, nil, nil))
		in := func(d time.Duration) int64 {
			before := w.sweeps.Load()
			<-time.After(d)
			synctest.Wait()
			return w.sweeps.Load() - before
		}
		if n := in(10 * time.Minute); n < 39 || n > 41 {
			t.Errorf("%d sweeps in 10 idle minutes, want 40", n)
		}
		h := w.claim(t, w.submit(t, time.Hour).ID, "w")
		in(15 * time.Second) // until it is seen
		if n := in(time.Minute); n < 59 || n > 61 {
			t.Errorf("%d sweeps in a minute with a running job, want 60", n)
		}
		if err := h.Finish(t.Context(), job.Result{State: job.Completed}); err != nil {
			t.Fatal(err)
		}
		in(2 * time.Second)
		if n := in(time.Minute); n < 3 || n > 5 {
			t.Errorf("%d sweeps in a minute after it, want 4", n)
		}
	})
}

func tick(t *testing.T, s *reconciler.Service) (status int, took time.Duration) {
	t.Helper()
	began := time.Now()
	rec := httptest.NewRecorder()
	s.Tick(rec, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/tick", http.NoBody))
	return rec.Code, time.Since(began)
}

func TestATickLastsAsLongAsThereIsWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.build(t, with(func(c *reconciler.Config) { c.Intake = reconciler.IntakeTick }), nil, nil)
		run(t, s)
		if code, took := tick(t, s); code != http.StatusNoContent || took != 0 || w.sweeps.Load() != 1 {
			t.Errorf("idle tick: %d after %s, %d sweeps", code, took, w.sweeps.Load())
		}
		j := w.submit(t, time.Hour)
		h := w.claim(t, j.ID, "w")
		end := time.AfterFunc(20*time.Second, func() {
			if err := h.Finish(t.Context(), job.Result{State: job.Completed}); err != nil {
				t.Error(err)
			}
		})
		defer end.Stop()
		if code, took := tick(t, s); code != http.StatusNoContent || took < 20*time.Second || took > 22*time.Second {
			t.Errorf("tick with a job of 20 s: %d after %s", code, took)
		}
		w.claim(t, w.submit(t, time.Hour).ID, "w")
		done := make(chan time.Duration, 1)
		before := w.sweeps.Load()
		go func() {
			_, took := tick(t, s)
			done <- took
		}()
		<-time.After(10 * time.Second)
		if code, took := tick(t, s); code != http.StatusNoContent || took != 0 {
			t.Errorf("tick beside another: %d after %s", code, took)
		}
		if took := <-done; took != 55*time.Second {
			t.Errorf("tick with a long job: %s", took)
		}
		if n := w.sweeps.Load() - before; n < 54 || n > 56 {
			t.Errorf("%d sweeps in it, want 55", n)
		}
		time.AfterFunc(5*time.Second, func() { _ = s.Quiesce(t.Context()) })
		if _, took := tick(t, s); took != 5*time.Second {
			t.Errorf("a tick went on %s after the stop", took)
		}
	})
}

// A job that changes hands between the two questions of a sweep is in neither
// answer.
func TestATickGoesOnAfterOneLookThatMissesAJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.build(t, with(func(c *reconciler.Config) { c.Intake = reconciler.IntakeTick }), nil, nil)
		w.claim(t, w.submit(t, time.Hour).ID, "w")
		time.AfterFunc(10*time.Second+time.Millisecond, func() { w.blind.Store(2) })
		if _, took := tick(t, s); took != 55*time.Second {
			t.Errorf("it ended after %s", took)
		}
	})
}

func TestALoopHasNoTicks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.build(t, sparing, nil, nil)
		if code, _ := tick(t, s); code != http.StatusNotFound || w.sweeps.Load() != 0 {
			t.Errorf("status %d, %d sweeps", code, w.sweeps.Load())
		}
	})
}

// Two reconcilers hear the message and see the document; one execution comes,
// and another only when it has not claimed the job for the interval.
func TestALongJobGetsOneExecution(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, x := newWorld(t), &executions{}
		for range 2 {
			run(t, w.build(t, with(func(c *reconciler.Config) { c.ExecutionJob = "long" }), x, nil))
		}
		synctest.Wait()
		w.submit(t, time.Minute) // a push worker's
		j := w.submit(t, time.Hour)
		synctest.Wait()
		if x.count() != 1 || x.started[0] != j.ID {
			t.Fatalf("started %v at once, want %s", x.started, j.ID)
		}
		<-time.After(3*time.Minute - time.Second)
		synctest.Wait()
		if n := x.count(); n != 1 {
			t.Errorf("%d executions within the interval", n)
		}
		<-time.After(20 * time.Second)
		synctest.Wait()
		if n := x.count(); n != 2 {
			t.Errorf("%d executions after the interval, want 2", n)
		}
		h := w.claim(t, j.ID, "x")
		if err := h.HandBack(t.Context(), job.Usage{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := x.count(); n != 3 {
			t.Errorf("%d executions after a hand-back, want 3", n)
		}
	})
}

func TestAnExecutionThatDoesNotStartIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, x := newWorld(t), &executions{err: errors.New("quota")}
		run(t, w.build(t, with(func(c *reconciler.Config) { c.ExecutionJob = "long" }), x, nil))
		synctest.Wait()
		j := w.submit(t, time.Hour)
		<-time.After(90 * time.Second)
		synctest.Wait()
		if n := x.count(); n < 4 || n > 6 {
			t.Errorf("%d tries in 90 s, want 5", n)
		}
		x.set(nil)
		<-time.After(2 * time.Minute)
		synctest.Wait()
		n := x.count()
		w.claim(t, j.ID, "x")
		<-time.After(time.Hour)
		if x.count() != n {
			t.Error("executions were started for a running job")
		}
	})
}

func TestThePoolFollowsTheWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), &pool{}
		run(t, w.build(t, with(func(c *reconciler.Config) { c.Pool, c.ExecutionJob = "p", "long" }), &executions{}, p))
		wait := func(d time.Duration, want int64) {
			t.Helper()
			<-time.After(d)
			synctest.Wait()
			if n := p.size.Load(); n != want {
				t.Errorf("size %d after %s, want %d", n, d, want)
			}
		}
		wait(time.Minute, 0)
		w.submit(t, time.Hour) // an execution's, not the pool's
		wait(20*time.Second, 0)
		var short []*job.Job
		for range 5 {
			short = append(short, w.submit(t, time.Minute))
		}
		wait(2*time.Second, 3)
		for i, j := range short { // on two workers
			h := w.claim(t, j.ID, []string{"a", "b"}[i%2])
			if i > 1 {
				if err := h.Finish(t.Context(), job.Result{State: job.Completed}); err != nil {
					t.Fatal(err)
				}
			}
		}
		wait(30*time.Second, 3)
		wait(time.Minute, 2) // one would be enough, but two run jobs
	})
}

func TestACloudFeatureWithoutItsPartIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, cfg := range map[string]reconciler.Config{
		"executions":               with(func(c *reconciler.Config) { c.ExecutionJob = "long" }),
		"pool":                     with(func(c *reconciler.Config) { c.Pool = "p" }),
		"a pool upside down":       with(func(c *reconciler.Config) { c.Pool, c.PoolMin = "p", 9 }),
		"idle more often than not": with(func(c *reconciler.Config) { c.IdleInterval = time.Millisecond }),
	} {
		if _, err := reconciler.New(cfg, reconciler.Deps{Jobs: w.jobs, Docs: w.docs, Logger: w.jobs.Logger, Now: time.Now}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
