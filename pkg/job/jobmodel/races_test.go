package jobmodel_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/blob/memblob"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/schema"
)

// The races that the machine found, each in its shortest form.

// around lets something happen at the very moment of one commit: before it, or
// after it, and then the answer is lost.
type around struct {
	docstore.Driver
	before, after func()
}

func (a *around) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	before, after := a.before, a.after
	a.before, a.after = nil, nil
	if before != nil {
		before()
	}
	versions, err := a.Driver.Commit(ctx, writes)
	if after != nil && err == nil {
		after()
		return nil, docstore.ErrUnavailable
	}
	return versions, err
}

// open returns a process with that driver and one to which nothing happens.
func open(t *testing.T) (a *around, first, other *job.Store) {
	t.Helper()
	w := &world{docs: memstore.New(schema.All()), blobs: memblob.OpenBucket(nil)}
	a = &around{Driver: w.docs}
	stores := make([]*job.Store, 2)
	for i, d := range []docstore.Driver{a, w.docs} {
		var err error
		if stores[i], err = w.open(d, "p", time.Now); err != nil {
			t.Fatal(err)
		}
	}
	return a, stores[0], stores[1]
}

func submit(t *testing.T, s *job.Store) *job.Job {
	t.Helper()
	j, _, err := s.Submit(t.Context(), job.Submission{Tenant: "one", Spec: job.Spec{Prompt: "p"}})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func claim(t *testing.T, s *job.Store, jobID string) *job.Held {
	t.Helper()
	h, err := s.Claim(t.Context(), jobID, job.ClaimOptions{Worker: "w", Lease: 15 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Abandon(errGone) })
	return h
}

// The end of the only admitted job frees its slot, for nobody waits; meanwhile
// a submit finds no slot free, twice.
func TestAJobStoredWhileASlotIsFreedIsAdmitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, s, other := open(t)
		h := claim(t, s, submit(t, s).ID)
		var late *job.Job
		a.before = func() { late = submit(t, other) }
		if err := h.Finish(t.Context(), job.Result{State: job.Completed}); err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(t.Context(), "one", late.ID)
		if err != nil || got.Wait != job.Admitted {
			t.Errorf("the job waits for %q beside a free slot, %v", got.Wait, err)
		}
	})
}

// A claim lands and its answer is lost. Before the claimer has read it back the
// lease is taken away and another worker has claimed the job.
func TestAClaimThatWasTakenAwayBeforeItWasKnownIsNoClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, s, other := open(t)
		j := submit(t, s)
		var owner *job.Held
		a.after = func() {
			due, _, err := other.DueJobs(t.Context(), job.DueLease, time.Now().Add(farFuture), 1, "")
			if err != nil || len(due) != 1 {
				t.Fatalf("due: %v, %v", due, err)
			}
			if err := other.Repair(t.Context(), due[0]); err != nil {
				t.Fatal(err)
			}
			owner = claim(t, other, j.ID)
		}
		h, err := s.Claim(t.Context(), j.ID, job.ClaimOptions{Worker: "zombie", Lease: 15 * time.Second})
		if !errors.Is(err, job.ErrLeased) {
			t.Errorf("the claim is answered %v", err)
		}
		if err == nil {
			t.Cleanup(func() { h.Abandon(errGone) })
			if _, err := h.Heartbeat(t.Context(), job.Usage{}); !errors.Is(err, job.ErrLeaseLost) {
				t.Errorf("the zombie's heartbeat is answered %v", err)
			}
		}
		if _, err := owner.Heartbeat(t.Context(), job.Usage{}); err != nil {
			t.Errorf("the owner's heartbeat is answered %v", err)
		}
	})
}
