package job_test

import (
	"testing"
	"time"

	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/job/jobtest"
)

// leased reads the job as a sweep does.
func leased(t *testing.T, e *jobtest.Env) *job.Job {
	t.Helper()
	jobs, _, err := e.Jobs.DueJobs(t.Context(), job.DueLease, e.Clock.Now().Add(time.Hour), 10, "")
	if err != nil || len(jobs) != 1 {
		t.Fatalf("%d jobs: %v", len(jobs), err)
	}
	return jobs[0]
}

// The lease of jobtest is 15 s. The watcher's clock is skew ahead of the
// worker's.
func TestALeaseIsDeadWhenItStoodStillForItsLength(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{
		"clocks agree": 0, "the watcher is ahead": 30 * time.Second, "the watcher is behind": -30 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := jobtest.New(t)
			h := e.Claim(t, e.Submit(t, "p").ID, "w")
			w := job.NewLeaseWatch(func() time.Time { return e.Clock.Now().Add(skew) })
			dead := func() bool {
				defer w.EndRound()
				return w.Dead(leased(t, e))
			}
			for range 20 { // a holder that lives
				if dead() {
					t.Fatal("a lease that is kept was called dead")
				}
				e.Clock.Advance(5 * time.Second)
				if _, err := h.Heartbeat(t.Context(), job.Usage{}); err != nil {
					t.Fatal(err)
				}
			}
			if dead() { // the watcher sees the last heartbeat
				t.Fatal("a lease that is kept was called dead")
			}
			e.Clock.Advance(15*time.Second - time.Millisecond)
			if dead() {
				t.Error("a lease was called dead before its length had passed")
			}
			e.Clock.Advance(time.Millisecond)
			if !dead() {
				t.Error("a lease that stood still for its length is not dead")
			}
		})
	}
}

func TestANewWatcherWaitsAWholeLease(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	e.Claim(t, e.Submit(t, "p").ID, "w")
	e.Clock.Advance(20 * time.Second) // it looks over, but may be of a clock that is behind
	w := job.NewLeaseWatch(e.Clock.Now)
	if w.Dead(leased(t, e)) {
		t.Error("called dead at first sight")
	}
	e.Clock.Advance(15 * time.Second)
	if !w.Dead(leased(t, e)) {
		t.Error("not dead after a whole lease")
	}
	// Over for longer than clocks can differ: no need to wait.
	e.Clock.Advance(2 * time.Minute)
	if !job.NewLeaseWatch(e.Clock.Now).Dead(leased(t, e)) {
		t.Error("a lease that ran out minutes ago is not dead")
	}
}

func TestAWatcherForgetsWhatItDoesNotSee(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	e.Claim(t, e.Submit(t, "p").ID, "w")
	w := job.NewLeaseWatch(e.Clock.Now)
	j := leased(t, e)
	w.Dead(j)
	w.EndRound()
	w.EndRound() // a round without the job
	e.Clock.Advance(15 * time.Second)
	if w.Dead(j) {
		t.Error("a sighting of an earlier life was counted")
	}
}
