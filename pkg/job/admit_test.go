package job_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/admission"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/job/jobtest"
)

func limited(n int) func(string) int { return func(string) int { return n } }

func submitTo(t *testing.T, e *jobtest.Env, tenant, session string, spec job.Spec) *job.Job {
	t.Helper()
	j, _, err := e.Jobs.Submit(t.Context(), job.Submission{Tenant: tenant, SessionID: session, Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	e.Clock.Advance(time.Millisecond) // submits of one moment have no order
	return j
}

// announced lists the jobs of tenant a in the order in which the workers were
// told of them.
func announced(e *jobtest.Env) []string {
	var ids []string
	for _, ev := range e.Bus.Sent(events.TypeJobSubmittedV1) {
		if p, err := events.Decode(&ev); err == nil {
			if s, ok := p.(*events.JobSubmitted); ok && s.Tenant == "a" {
				ids = append(ids, s.JobID)
			}
		}
	}
	return ids
}

// slotsTaken counts the slots of tenant a that are taken.
func slotsTaken(t *testing.T, e *jobtest.Env) int {
	t.Helper()
	page, err := e.Docs.Query(t.Context(), docstore.Query{Collection: admission.Collection, Index: "by_tenant", Equal: []any{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Docs)
}

func TestJobsOverTheLimitWaitAndStartInOrder(t *testing.T) {
	t.Parallel()
	e := jobtest.NewLimited(t, limited(2))
	ids := make([]string, 6)
	for i := range ids {
		spec := job.Spec{Prompt: fmt.Sprint(i)}
		if i == 5 {
			spec.Priority = 1
		}
		ids[i] = submitTo(t, e, "a", "", spec).ID
	}
	order := []string{ids[0], ids[1], ids[5], ids[2], ids[3], ids[4]} // the important one first
	if diff := cmp.Diff(order[:2], announced(e)); diff != "" {
		t.Fatalf("announced: %s", diff)
	}
	if _, err := e.Jobs.Claim(t.Context(), ids[3], jobtest.ClaimOptions("w")); !errors.Is(err, job.ErrNotAdmitted) {
		t.Fatalf("claim of a job that waits for a slot: %v", err)
	}
	for i, jobID := range order {
		if got := slotsTaken(t, e); got != min(2, len(order)-i) {
			t.Errorf("%d slots are taken before job %d ends", got, i)
		}
		h := e.Claim(t, jobID, "w")
		finish(t, h, job.Result{State: job.Completed})
		if diff := cmp.Diff(order[:min(i+3, len(order))], announced(e)); diff != "" {
			t.Fatalf("announced after job %d: %s", i, diff)
		}
	}
	if got := slotsTaken(t, e); got != 0 {
		t.Errorf("%d slots are taken although no job is left", got)
	}
}

// A tenant that floods the gateway takes its share of the queue and no more.
func TestABusyTenantDoesNotStarveAnother(t *testing.T) {
	t.Parallel()
	limits := map[string]int{"busy": 5, "small": 2, "late": 3}
	e := jobtest.NewLimited(t, func(tenant string) int { return limits[tenant] })
	for i := range 60 {
		submitTo(t, e, "busy", "", job.Spec{Prompt: fmt.Sprint(i)})
	}
	for i := range 8 {
		submitTo(t, e, "small", "", job.Spec{Prompt: fmt.Sprint(i)})
	}
	// One worker takes the announced jobs in their order. The bound: an announced
	// job starts after at most the sum of the limits of other dispatches.
	const bound = 5 + 2 + 3
	queue := func() []string {
		var ids []string
		for _, ev := range e.Bus.Sent(events.TypeJobSubmittedV1) {
			ids = append(ids, ev.Subject())
		}
		return ids
	}
	lastSmall := 0
	for n := 0; n < len(queue()); n++ {
		if n == 20 {
			late := submitTo(t, e, "late", "", job.Spec{Prompt: "late"}).ID
			if at := slices.Index(queue(), late); at-n > bound {
				t.Errorf("the job of a tenant that comes late is dispatched %d places later, want at most %d", at-n, bound)
			}
		}
		h := e.Claim(t, queue()[n], "w")
		if h.Job().Tenant == "small" {
			if n-lastSmall > bound {
				t.Errorf("the small tenant waited for %d dispatches, want at most %d", n-lastSmall, bound)
			}
			lastSmall = n
		}
		finish(t, h, job.Result{State: job.Completed})
	}
	if n := len(queue()); n != 60+8+1 {
		t.Errorf("%d jobs ran, want all", n)
	}
	if lastSmall > 8/2*(5+2)+bound {
		t.Errorf("the small tenant's last job was dispatch %d", lastSmall)
	}
}

// Between the look for a free slot and the commit that parks a job, the last
// job of the tenant may end: nobody else is left to wake the parked one.
func TestAJobThatParksWhileTheLastOneEndsIsAdmitted(t *testing.T) {
	t.Parallel()
	e := jobtest.NewLimited(t, limited(1))
	first := submitTo(t, e, "a", "", job.Spec{Prompt: "1"})
	h := e.Claim(t, first.ID, "w")
	e.Fault.Next(
		jobtest.Rule{Collection: job.Collection}, // the try that finds the slot taken
		jobtest.Rule{Collection: job.Collection, Before: func() { finish(t, h, job.Result{State: job.Completed}) }},
	)
	second := submitTo(t, e, "a", "", job.Spec{Prompt: "2"})
	if n := slotsTaken(t, e); n != 1 || second.Wait != job.WaitSlot {
		t.Fatalf("%d slots taken, the job was stored with wait %q", n, second.Wait)
	}
	if diff := cmp.Diff([]string{first.ID, second.ID}, announced(e)); diff != "" {
		t.Fatalf("announced: %s", diff)
	}
	finish(t, e.Claim(t, second.ID, "w"), job.Result{State: job.Completed})
}

func TestManySubmitsAndEndsLoseNoWakeUp(t *testing.T) {
	t.Parallel()
	const submitters, each, limit = 8, 8, 3
	e := jobtest.NewLimited(t, limited(limit))
	var wg sync.WaitGroup
	for range submitters {
		wg.Go(func() {
			for i := range each {
				if _, _, err := e.Jobs.Submit(t.Context(), job.Submission{Tenant: "a", Spec: job.Spec{Prompt: fmt.Sprint(i)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all := make(chan struct{})
	go func() { defer close(all); wg.Wait() }()
	ended := 0
	for submitted := false; ; {
		select {
		case <-all:
			submitted = true
		default:
		}
		ran := 0
		for _, jobID := range announced(e) {
			h, err := e.Jobs.Claim(t.Context(), jobID, jobtest.ClaimOptions("w"))
			if err != nil {
				continue // it has run
			}
			if got := slotsTaken(t, e); got > limit {
				t.Errorf("%d slots are taken, the limit is %d", got, limit)
			}
			finish(t, h, job.Result{State: job.Completed})
			ran++
		}
		if ended += ran; submitted && ran == 0 {
			break
		}
	}
	if ended != submitters*each {
		t.Errorf("%d jobs ran without the reconciler, want %d", ended, submitters*each)
	}
}

func TestAWaitingJobMovesOn(t *testing.T) {
	t.Parallel()
	t.Run("when the one before it is cancelled", func(t *testing.T) {
		t.Parallel()
		e := jobtest.NewLimited(t, limited(1))
		first := submitTo(t, e, "a", "", job.Spec{Prompt: "1"})
		second := submitTo(t, e, "a", "", job.Spec{Prompt: "2"})
		third := submitTo(t, e, "a", "", job.Spec{Prompt: "3"})
		for _, id := range []string{second.ID, first.ID} {
			if _, err := e.Jobs.Cancel(t.Context(), "a", id, ""); err != nil {
				t.Fatal(err)
			}
		}
		finish(t, e.Claim(t, third.ID, "w"), job.Result{State: job.Completed})
	})
	t.Run("and keeps its slot through hand-back and requeue", func(t *testing.T) {
		t.Parallel()
		e := jobtest.NewLimited(t, limited(1))
		first := submitTo(t, e, "a", "", job.Spec{Prompt: "1"})
		second := submitTo(t, e, "a", "", job.Spec{Prompt: "2"})
		h := e.Claim(t, first.ID, "w")
		if err := h.HandBack(t.Context(), job.Usage{}); err != nil {
			t.Fatal(err)
		}
		e.Claim(t, first.ID, "w").Abandon(errors.New("killed"))
		e.Requeue(t, first.ID)
		if _, err := e.Jobs.Claim(t.Context(), second.ID, jobtest.ClaimOptions("w")); !errors.Is(err, job.ErrNotAdmitted) {
			t.Errorf("the second job got in: %v", err)
		}
		finish(t, e.Claim(t, first.ID, "w"), job.Result{State: job.Completed})
		finish(t, e.Claim(t, second.ID, "w"), job.Result{State: job.Completed})
	})
	t.Run("by turns with the other jobs of its tenant", func(t *testing.T) {
		t.Parallel()
		e := jobtest.NewLimited(t, limited(1))
		s1 := submitTo(t, e, "a", "s", job.Spec{Prompt: "1"})
		other := submitTo(t, e, "a", "", job.Spec{Prompt: "other"})
		s2 := submitTo(t, e, "a", "s", job.Spec{Prompt: "2"})
		for _, id := range []string{s1.ID, other.ID, s2.ID} {
			finish(t, e.Claim(t, id, "w"), job.Result{State: job.Completed})
		}
	})
	t.Run("when the limit is gone", func(t *testing.T) {
		t.Parallel()
		var mu sync.Mutex
		limit := 1
		e := jobtest.NewLimited(t, func(string) int { mu.Lock(); defer mu.Unlock(); return limit })
		submitTo(t, e, "a", "", job.Spec{Prompt: "1"})
		second := submitTo(t, e, "a", "", job.Spec{Prompt: "2"})
		mu.Lock()
		limit = 0
		mu.Unlock()
		repairDue(t, e, job.DueAdmit)
		finish(t, e.Claim(t, second.ID, "w"), job.Result{State: job.Completed})
	})
}

// repairDue repairs everything that is due for a reason in a minute.
func repairDue(t *testing.T, e *jobtest.Env, why job.Due) int {
	t.Helper()
	e.Clock.Advance(time.Minute)
	due, _, err := e.Jobs.DueJobs(t.Context(), why, e.Clock.Now(), 100, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range due {
		if err := e.Jobs.Repair(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	return len(due)
}

// A submit that dies between its commit and its second look leaves a job that
// waits although a slot is free; the reconciler is the backstop.
func TestTheReconcilerAdmitsWhatACrashForgot(t *testing.T) {
	t.Parallel()
	e := jobtest.NewLimited(t, limited(1))
	first := submitTo(t, e, "a", "", job.Spec{Prompt: "1"})
	second := submitTo(t, e, "a", "", job.Spec{Prompt: "2"})
	// The first ends in a process whose handover is undone by hand: the slot is
	// free and nobody was told.
	finish(t, e.Claim(t, first.ID, "w"), job.Result{State: job.Completed})
	e.Park(t, second.ID)
	if got := slotsTaken(t, e); got != 0 {
		t.Fatalf("%d slots taken", got)
	}
	if n := repairDue(t, e, job.DueAdmit); n != 1 {
		t.Fatalf("%d jobs due", n)
	}
	finish(t, e.Claim(t, second.ID, "w"), job.Result{State: job.Completed})
	if n := repairDue(t, e, job.DueAdmit); n != 0 {
		t.Errorf("%d jobs are still due", n)
	}
}

// A job that has to wait long is looked at ever more rarely.
func TestLooksAtAWaitingJobSpaceOut(t *testing.T) {
	t.Parallel()
	e := jobtest.NewLimited(t, limited(1))
	submitTo(t, e, "a", "", job.Spec{Prompt: "1"})
	submitTo(t, e, "a", "", job.Spec{Prompt: "2"})
	looks := 0
	for range 60 {
		looks += repairDue(t, e, job.DueAdmit)
	}
	if looks < 8 || looks > 20 {
		t.Errorf("%d looks in an hour", looks)
	}
	if n := len(announced(e)); n != 1 {
		t.Errorf("%d jobs announced", n)
	}
}
