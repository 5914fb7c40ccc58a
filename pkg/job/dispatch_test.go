package job_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/job/jobtest"
)

const again = 3 * time.Minute

// starts counts the workers that were started and fails while err is set.
type starts struct {
	n   atomic.Int64
	err error
}

func (s *starts) start(context.Context) error {
	s.n.Add(1)
	return s.err
}

func dispatch(t *testing.T, e *jobtest.Env, jobID string, s *starts) bool {
	t.Helper()
	called, err := e.Jobs.Dispatch(t.Context(), jobID, again, s.start)
	if called && !errors.Is(err, s.err) || !called && err != nil {
		t.Fatalf("called %v: %v", called, err)
	}
	return called
}

func TestAWorkerIsStartedOnceInTheInterval(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "p")
	s := &starts{}
	for range 3 {
		dispatch(t, e, j.ID, s)
		e.Clock.Advance(again/3 - time.Second)
	}
	if n := s.n.Load(); n != 1 {
		t.Errorf("%d starts within the interval", n)
	}
	e.Clock.Advance(4 * time.Second)
	due, _, err := e.Jobs.DueJobs(t.Context(), job.DueClaim, e.Clock.Now(), 10, "")
	if err != nil || len(due) != 1 {
		t.Fatalf("%d jobs due after the interval, %v", len(due), err)
	}
	if !dispatch(t, e, j.ID, s) {
		t.Error("not started again after the interval")
	}
	e.Clock.Advance(again + time.Second)
	if dispatch(t, e, j.ID, s) {
		t.Error("what never claims is started at the same rate for ever")
	}
}

func TestManyReconcilersStartOneWorker(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "p")
	s := &starts{}
	var all sync.WaitGroup
	for range 8 {
		store := e.Store(t)
		all.Go(func() {
			if _, err := store.Dispatch(t.Context(), j.ID, again, s.start); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := s.n.Load(); n != 1 {
		t.Errorf("%d workers were started", n)
	}
}

func TestAStartThatFailsIsTriedAgainSoon(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "p")
	s := &starts{err: errors.New("quota")}
	for _, seconds := range []int{5, 10, 20, 40, 80, 160, 180, 180} {
		pause := time.Duration(seconds) * time.Second
		if !dispatch(t, e, j.ID, s) {
			t.Fatalf("not tried %s after the last failure", pause)
		}
		if dispatch(t, e, j.ID, s) {
			t.Fatal("tried again without a pause")
		}
		e.Clock.Advance(pause)
	}
	s.err = nil
	if !dispatch(t, e, j.ID, s) {
		t.Error("not tried when it would have worked")
	}
}

func TestADeadReconcilerCostsOneInterval(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "p")
	func() {
		defer func() { _ = recover() }() // dies after the decision, before the start
		_, _ = e.Jobs.Dispatch(t.Context(), j.ID, again, func(context.Context) error { panic("killed") })
	}()
	e.Clock.Advance(again)
	if s := (&starts{}); !dispatch(t, e, j.ID, s) {
		t.Error("the job was forgotten")
	}
}

func TestAJobThatNeedsNoWorkerGetsNone(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	s := &starts{}
	held := e.Submit(t, "p")
	h := e.Claim(t, held.ID, "w")
	ended := e.Submit(t, "p")
	if _, err := e.Jobs.Cancel(t.Context(), jobtest.Tenant, ended.ID, ""); err != nil {
		t.Fatal(err)
	}
	for _, jobID := range []string{held.ID, ended.ID, id.New(id.Job)} {
		if dispatch(t, e, jobID, s) {
			t.Errorf("a worker was started for %s", jobID)
		}
	}
	// Handed back, it needs one at once, however short ago the last was started.
	if err := h.HandBack(t.Context(), job.Usage{}); err != nil {
		t.Fatal(err)
	}
	if !dispatch(t, e, held.ID, s) {
		t.Error("no worker for a job that was handed back")
	}
}

func TestADispatchThatCannotBeDecidedStartsNothing(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "p")
	e.Fault.Next(jobtest.Rule{Collection: job.Collection, Err: docstore.ErrUnavailable, After: true})
	s := &starts{}
	if _, err := e.Jobs.Dispatch(t.Context(), j.ID, again, s.start); !errors.Is(err, docstore.ErrUnavailable) || s.n.Load() != 0 {
		t.Fatalf("%v, %d starts", err, s.n.Load())
	}
	e.Clock.Advance(again)
	if !dispatch(t, e, j.ID, s) {
		t.Error("the job was forgotten")
	}
}
