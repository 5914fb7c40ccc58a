package job_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/job/jobtest"
)

// longJob runs a job whose log has n events of size bytes between job.started
// and the end.
func longJob(t *testing.T, e *jobtest.Env, n, size int) *job.Job {
	t.Helper()
	j := e.Submit(t, "long")
	h := e.Claim(t, j.ID, "w")
	text := strings.Repeat("x", size)
	for i := range n {
		err := h.Log.Append(t.Context(), eventlog.Entry{
			Type: eventlog.TypeCodex, Time: e.Clock.Now(),
			Data: eventlog.CodexData("item/completed", json.RawMessage(fmt.Sprintf(`{"n":%d,"text":%q}`, i, text))),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	finish(t, h, job.Result{State: job.Completed})
	j, err := e.Jobs.Get(t.Context(), jobtest.Tenant, j.ID)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// randomJob is a job whose log does not pack well enough for its document.
func randomJob(t *testing.T, e *jobtest.Env) *job.Job {
	t.Helper()
	j := e.Submit(t, "random")
	h := e.Claim(t, j.ID, "w")
	var text strings.Builder
	for text.Len() < 64<<10 {
		text.WriteString(rand.Text())
	}
	err := h.Log.Append(t.Context(), eventlog.Entry{
		Type: eventlog.TypeCodex, Time: e.Clock.Now(), Data: eventlog.CodexData("item/completed", json.RawMessage(strconv.Quote(text.String()))),
	})
	if err != nil {
		t.Fatal(err)
	}
	finish(t, h, job.Result{State: job.Completed})
	if j, err = e.Jobs.Get(t.Context(), jobtest.Tenant, j.ID); err != nil {
		t.Fatal(err)
	}
	return j
}

// read pages through a log from a seq, limit events at a time.
func read(t *testing.T, e *jobtest.Env, jobID string, after int64, limit int) []string {
	t.Helper()
	var all []string
	for {
		page, err := e.Jobs.Events().Read(t.Context(), jobID, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		if limit > 0 && len(page.Events) > limit {
			t.Fatalf("%d events in a page of at most %d", len(page.Events), limit)
		}
		for i, ev := range page.Events {
			var seq struct {
				Seq int64 `json:"seq"`
			}
			if err := json.Unmarshal(ev, &seq); err != nil || seq.Seq != after+1+int64(i) {
				t.Fatalf("event %d after %d: %d, %v", i, after, seq.Seq, err)
			}
			all = append(all, string(ev))
		}
		after = page.Last()
		if page.Closed {
			return all
		}
		if len(page.Events) == 0 {
			t.Fatalf("an open log ends at %d", after)
		}
	}
}

func expire(t *testing.T, e *jobtest.Env, j *job.Job) {
	t.Helper()
	e.Clock.Advance(jobtest.Retention)
	if n := repairDue(t, e, job.DueExpire); n != 1 {
		t.Fatalf("%d logs expired, want 1", n)
	}
	if last, _, err := e.Jobs.Log.Tail(t.Context(), j.ID); err != nil || last != 0 {
		t.Fatalf("documents are left up to %d: %v", last, err)
	}
	if n := repairDue(t, e, job.DueExpire); n != 0 {
		t.Errorf("%d logs are still due", n)
	}
}

func TestAnExpiredLogReadsTheSame(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ events, size, limit int }{
		"short":          {3, 10, 0},
		"in small pages": {50, 100, 7},
		"of many frames": {13, 700 << 10, 1000}, // events in blobs, two frames
		"nothing at all": {0, 0, 0},
		"many events":    {2000, 100, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := jobtest.New(t)
			j := longJob(t, e, c.events, c.size)
			before := read(t, e, j.ID, 0, c.limit)
			if len(before) != c.events+3 {
				t.Fatalf("%d events before", len(before))
			}
			expire(t, e, j)
			for _, after := range []int64{0, j.LastSeq / 2, j.LastSeq} {
				if got := read(t, e, j.ID, after, c.limit); !slices.Equal(got, before[after:]) {
					t.Errorf("after %d: %d events, want %d, or others", after, len(got), len(before[after:]))
				}
			}
			if last, closed, err := e.Jobs.Events().Tail(t.Context(), j.ID); err != nil || !closed || last != j.LastSeq {
				t.Errorf("tail %d, closed %v, %v", last, closed, err)
			}
			blobs := e.Blobs.List(nil)
			for o, err := blobs.Next(t.Context()); err == nil; o, err = blobs.Next(t.Context()) {
				if strings.HasPrefix(o.Key, "log/") {
					t.Errorf("blob %s is left", o.Key)
				}
			}
		})
	}
}

// A worker that lost its lease may sleep until the log of its job has expired.
// The key it would write next must not have become free meanwhile.
func TestAZombieIsFencedByAnExpiredLogToo(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, e *jobtest.Env, jobID string){
		"requeued and run by another": func(t *testing.T, e *jobtest.Env, jobID string) {
			t.Helper()
			e.Requeue(t, jobID)
			finish(t, e.Claim(t, jobID, "w2"), job.Result{State: job.Completed})
		},
		"cancelled without it": func(t *testing.T, e *jobtest.Env, jobID string) {
			t.Helper()
			if _, err := e.Jobs.Cancel(t.Context(), jobtest.Tenant, jobID, ""); err != nil {
				t.Fatal(err)
			}
			e.Requeue(t, jobID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := jobtest.New(t)
			j := e.Submit(t, "p")
			zombie := e.Claim(t, j.ID, "w1")
			lose(t, e, j.ID)
			before := read(t, e, j.ID, 0, 0)
			expire(t, e, j)
			told := len(e.Bus.Sent(events.TypeJobProgressedV1))
			if err := zombie.Log.Append(t.Context(), eventlog.Entry{Type: eventlog.TypeCodex, Time: e.Clock.Now()}); err != nil {
				t.Fatal(err)
			}
			if err := zombie.Log.Flush(t.Context()); !errors.Is(err, eventlog.ErrFenced) {
				t.Fatalf("the zombie's append: %v", err)
			}
			if n := len(e.Bus.Sent(events.TypeJobProgressedV1)); n != told {
				t.Error("the zombie told watchers of an event that is not in the log")
			}
			for after := range int64(len(before)) {
				if got := read(t, e, j.ID, after, 0); !slices.Equal(got, before[after:]) {
					t.Errorf("after %d: %q", after, got)
				}
			}
		})
	}
}

func TestALogWithoutItsArtifactDoesNotExpire(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := randomJob(t, e)
	if err := e.Blobs.Delete(t.Context(), j.Artifacts[len(j.Artifacts)-1].Blob); err != nil {
		t.Fatal(err)
	}
	e.Clock.Advance(jobtest.Retention)
	due, _, err := e.Jobs.DueJobs(t.Context(), job.DueExpire, e.Clock.Now(), 10, "")
	if err != nil || len(due) != 1 {
		t.Fatalf("%d due: %v", len(due), err)
	}
	if err := e.Jobs.Repair(t.Context(), due[0]); err == nil {
		t.Error("the only copy of a log was removed")
	}
	if got := read(t, e, j.ID, 0, 0); len(got) != 4 {
		t.Errorf("%d events are left", len(got))
	}
}

func TestTheLogOfAnUnknownJobIsNotFound(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	const unknown = "job_00000000000000000000000000"
	if _, err := e.Jobs.Events().Read(t.Context(), unknown, 0, 0); errs.CodeOf(err) != errs.NotFound {
		t.Errorf("read: %v", err)
	}
	if _, _, err := e.Jobs.Events().Tail(t.Context(), unknown); errs.CodeOf(err) != errs.NotFound {
		t.Errorf("tail: %v", err)
	}
}

func TestRetryMakesANewJobOfAnEndedOne(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	spec := job.Spec{Prompt: strings.Repeat("long ", 10_000), Metadata: map[string]string{"k": "v"}, Priority: 3}
	old, _, err := e.Jobs.Submit(t.Context(), job.Submission{Tenant: jobtest.Tenant, SessionID: "s", Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Jobs.Retry(t.Context(), jobtest.Tenant, old.ID, job.RetryOptions{}); errs.CodeOf(err) != errs.Conflict {
		t.Errorf("retry of a job that has not ended: %v", err)
	}
	finish(t, e.Claim(t, old.ID, "w"), job.Result{State: job.Failed, Error: job.NewError(errs.Stalled, "")})
	again, replayed, err := e.Jobs.Retry(t.Context(), jobtest.Tenant, old.ID, job.RetryOptions{IdempotencyKey: "key"})
	if err != nil || replayed || again.ID == old.ID || again.RetryOf != old.ID || again.ConversationID != old.ConversationID || again.SessionID != "s" {
		t.Fatalf("%+v %v %v", again, replayed, err)
	}
	got, err := e.Jobs.LoadSpec(t.Context(), again)
	if err != nil || got.Prompt != spec.Prompt || got.Priority != 3 || again.Metadata["k"] != "v" {
		t.Errorf("spec: %+v %v", got, err)
	}
	same, replayed, err := e.Jobs.Retry(t.Context(), jobtest.Tenant, old.ID, job.RetryOptions{IdempotencyKey: "key"})
	if err != nil || !replayed || same.ID != again.ID {
		t.Errorf("the same key: %v %v %v", same, replayed, err)
	}
	if _, _, err := e.Jobs.Retry(t.Context(), "mallory", old.ID, job.RetryOptions{}); errs.CodeOf(err) != errs.NotFound {
		t.Errorf("another tenant's: %v", err)
	}
	finish(t, e.Claim(t, again.ID, "w"), job.Result{State: job.Completed})
}
