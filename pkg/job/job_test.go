package job_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/job/jobtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log reads the whole log of a job and checks that it is dense.
func log(t *testing.T, e *jobtest.Env, jobID string) (types []string, closed bool) {
	t.Helper()
	page, err := e.Jobs.Log.Read(t.Context(), jobID, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, raw := range page.Events {
		var ev struct {
			JobID string `json:"job_id"`
			Seq   int64  `json:"seq"`
			Type  string `json:"type"`
		}
		if err := json.Unmarshal(raw, &ev); err != nil {
			t.Fatal(err)
		}
		if ev.Seq != int64(i)+1 || ev.JobID != jobID {
			t.Fatalf("event %d has seq %d of %s", i+1, ev.Seq, ev.JobID)
		}
		types = append(types, ev.Type)
	}
	return types, page.Closed
}

func finish(t *testing.T, h *job.Held, r job.Result) {
	t.Helper()
	if err := h.Finish(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func TestStateMachineIsClosed(t *testing.T) {
	t.Parallel()
	ends := 0
	for _, s := range job.States() {
		if s.Terminal() {
			ends++
		}
		for _, next := range job.States() {
			if s.Terminal() && s.CanBecome(next) {
				t.Errorf("%s is terminal and may become %s", s, next)
			}
		}
		if s != job.Queued && s != job.Running && s.CanBecome(s) {
			t.Errorf("%s may become itself", s)
		}
	}
	if ends != 4 {
		t.Errorf("%d terminal states, want 4", ends)
	}
	if job.State("sleeping").Valid() || job.State("sleeping").Terminal() {
		t.Error("an unknown state is valid")
	}
}

func TestAJobRunsFromSubmitToItsAnswer(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "say hello")
	h := e.Claim(t, j.ID, "w1")
	for i := range 3 {
		err := h.Log.Append(t.Context(), eventlog.Entry{
			Type: eventlog.TypeCodex, Time: e.Clock.Now(),
			Data: eventlog.CodexData("item/completed", json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	finish(t, h, job.Result{State: job.Completed, Content: "hello", Usage: job.Usage{Input: 3, Output: 4}, Model: "m"})

	got, err := e.Jobs.Get(t.Context(), jobtest.Tenant, j.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.State != job.Completed || got.Content != "hello" || got.Attempt != 1 || got.LastSeq != 6 || got.Lease != nil {
		t.Errorf("finished job: %+v", got)
	}
	types, closed := log(t, e, j.ID)
	want := []string{"job.queued", "job.started", "codex", "codex", "codex", "job.completed"}
	if diff := cmp.Diff(want, types); diff != "" || !closed {
		t.Errorf("log (closed %v): %s", closed, diff)
	}
	view := got.View()
	if diff := cmp.Diff([]string{"events.jsonl.zst"}, view.Artifacts); diff != "" || view.Usage.TotalTokens != 7 {
		t.Errorf("view: %s %+v", diff, view.Usage)
	}
	wantTypes := []string{
		events.TypeJobProgressedV1, events.TypeJobSubmittedV1, events.TypeJobProgressedV1,
	}
	if diff := cmp.Diff(wantTypes, e.Bus.Types(j.ID)[:3]); diff != "" {
		t.Errorf("published: %s", diff)
	}
	if e.Bus.Count(j.ID, events.TypeJobCompletedV1) != 1 {
		t.Error("job.completed was not published once")
	}
}

func TestOneClaimWinsAmongMany(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "race")
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []*job.Held
	for i := range 20 {
		wg.Go(func() {
			h, err := e.Jobs.Claim(t.Context(), j.ID, jobtest.ClaimOptions(fmt.Sprint("w", i)))
			if err == nil {
				mu.Lock()
				won = append(won, h)
				mu.Unlock()
			} else if !errors.Is(err, job.ErrLeased) {
				t.Errorf("loser got %v", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d claims won", len(won))
	}
	finish(t, won[0], job.Result{State: job.Completed})
	if _, err := e.Jobs.Claim(t.Context(), j.ID, jobtest.ClaimOptions("late")); !errors.Is(err, job.ErrEnded) {
		t.Errorf("claim of an ended job: %v", err)
	}
}

// A worker that sleeps through its lease must not be able to write one more
// event, extend its lease or end the job, whatever the clocks say.
func TestALostLeaseIsFenced(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "zombie")
	zombie := e.Claim(t, j.ID, "w1")
	e.Clock.Advance(16 * time.Second)
	if _, err := e.Jobs.Claim(t.Context(), j.ID, jobtest.ClaimOptions("w2")); !errors.Is(err, job.ErrLeased) {
		t.Errorf("a claim decided by its own clock that a lease is over: %v", err)
	}
	e.Requeue(t, j.ID)
	owner := e.Claim(t, j.ID, "w2")

	if _, err := zombie.Heartbeat(t.Context(), job.Usage{}); !errors.Is(err, job.ErrLeaseLost) {
		t.Errorf("zombie heartbeat: %v", err)
	}
	if err := zombie.Log.Append(t.Context(), eventlog.Entry{Type: eventlog.TypeCodex, Time: e.Clock.Now()}); err != nil && !errors.Is(err, eventlog.ErrFenced) {
		t.Errorf("zombie append: %v", err)
	}
	<-zombie.Log.Done()
	if err := zombie.Log.Err(); !errors.Is(err, eventlog.ErrFenced) {
		t.Errorf("zombie log: %v", err)
	}
	if err := zombie.Finish(t.Context(), job.Result{State: job.Completed, Content: "zombie"}); !errors.Is(err, job.ErrLeaseLost) {
		t.Errorf("zombie finish: %v", err)
	}
	finish(t, owner, job.Result{State: job.Completed, Content: "owner"})
	got, err := e.Jobs.Get(t.Context(), jobtest.Tenant, j.ID)
	if err != nil || got.Content != "owner" || got.Attempt != 2 {
		t.Errorf("job: %+v %v", got, err)
	}
	types, _ := log(t, e, j.ID)
	want := []string{"job.queued", "job.started", "job.retrying", "job.started", "job.completed"}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Error(diff)
	}
}

// The zombie may also try to end the job without having noticed anything.
func TestAZombieCannotEndTheJobOfItsSuccessor(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "zombie")
	zombie := e.Claim(t, j.ID, "w1")
	e.Requeue(t, j.ID)
	owner := e.Claim(t, j.ID, "w2")
	if err := zombie.Finish(t.Context(), job.Result{State: job.Failed, Error: job.NewError(errs.Stalled, "")}); !errors.Is(err, job.ErrLeaseLost) {
		t.Errorf("zombie finish: %v", err)
	}
	if err := zombie.HandBack(t.Context(), job.Usage{Input: 1}); !errors.Is(err, job.ErrLeaseLost) {
		t.Errorf("zombie hand-back: %v", err)
	}
	finish(t, owner, job.Result{State: job.Completed})
}

func TestHandBackCostsNoAttempt(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "again")
	for range 5 {
		h := e.Claim(t, j.ID, "w")
		if h.Job().Attempt != 1 {
			t.Fatalf("attempt %d", h.Job().Attempt)
		}
		if err := h.HandBack(t.Context(), job.Usage{Input: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if n := e.Bus.Count(j.ID, events.TypeJobSubmittedV1); n != 6 {
		t.Errorf("announced %d times, want 6", n)
	}
	h := e.Claim(t, j.ID, "w")
	if _, err := h.Heartbeat(t.Context(), job.Usage{Input: 2}); err != nil {
		t.Fatal(err)
	}
	finish(t, h, job.Result{State: job.Completed, Usage: job.Usage{Input: 3}})
	got, err := e.Jobs.Get(t.Context(), jobtest.Tenant, j.ID)
	if err != nil || got.Usage.Input != 5+3 {
		t.Errorf("tokens of all claims: %+v, %v", got.Usage, err)
	}
}

func TestAttemptsRunOut(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "cursed")
	for range job.MaxAttempts {
		h := e.Claim(t, j.ID, "w")
		h.Abandon(errors.New("killed"))
		e.Requeue(t, j.ID)
	}
	if _, err := e.Jobs.Claim(t.Context(), j.ID, jobtest.ClaimOptions("w")); !errors.Is(err, job.ErrEnded) {
		t.Fatalf("fourth claim: %v", err)
	}
	got, err := e.Jobs.Get(t.Context(), jobtest.Tenant, j.ID)
	if err != nil || got.State != job.Failed || got.Error.Code != string(errs.WorkerLost) {
		t.Errorf("%+v %v", got, err)
	}
	if types, closed := log(t, e, j.ID); !closed || types[len(types)-1] != "job.failed" {
		t.Errorf("log ends with %v, closed %v", types, closed)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	t.Run("a queued job ends at once and never starts", func(t *testing.T) {
		t.Parallel()
		e := jobtest.New(t)
		j := e.Submit(t, "no")
		got, err := e.Jobs.Cancel(t.Context(), jobtest.Tenant, j.ID, "")
		if err != nil || got.State != job.Cancelled {
			t.Fatalf("%+v %v", got, err)
		}
		if _, err := e.Jobs.Claim(t.Context(), j.ID, jobtest.ClaimOptions("w")); !errors.Is(err, job.ErrEnded) {
			t.Errorf("claim: %v", err)
		}
	})
	t.Run("a running job's holder learns of it at the next heartbeat", func(t *testing.T) {
		t.Parallel()
		e := jobtest.New(t)
		j := e.Submit(t, "no")
		h := e.Claim(t, j.ID, "w")
		if c, err := h.Heartbeat(t.Context(), job.Usage{}); err != nil || c.Cancelled() {
			t.Fatalf("%+v %v", c, err)
		}
		for range 2 {
			if _, err := e.Jobs.Cancel(t.Context(), jobtest.Tenant, j.ID, "changed my mind"); err != nil {
				t.Fatal(err)
			}
		}
		c, err := h.Heartbeat(t.Context(), job.Usage{})
		if err != nil || !c.Cancelled() || c.Reason != "changed my mind" {
			t.Fatalf("%+v %v", c, err)
		}
		finish(t, h, job.Result{State: job.Cancelled})
		if _, err := e.Jobs.Cancel(t.Context(), jobtest.Tenant, j.ID, ""); errs.CodeOf(err) != errs.Conflict {
			t.Errorf("cancel of an ended job: %v", err)
		}
	})
	t.Run("a job whose worker died is cancelled, not retried", func(t *testing.T) {
		t.Parallel()
		e := jobtest.New(t)
		j := e.Submit(t, "no")
		e.Claim(t, j.ID, "w").Abandon(errors.New("killed"))
		if _, err := e.Jobs.Cancel(t.Context(), jobtest.Tenant, j.ID, ""); err != nil {
			t.Fatal(err)
		}
		e.Requeue(t, j.ID)
		if got, err := e.Jobs.Get(t.Context(), jobtest.Tenant, j.ID); err != nil || got.State != job.Cancelled {
			t.Errorf("%+v %v", got, err)
		}
	})
	t.Run("of a worker that is gone within its grace and 5 s", func(t *testing.T) {
		t.Parallel()
		e := jobtest.New(t)
		j := e.Submit(t, "no")
		e.Claim(t, j.ID, "w").Abandon(errors.New("killed"))
		if _, err := e.Jobs.Cancel(t.Context(), jobtest.Tenant, j.ID, ""); err != nil {
			t.Fatal(err)
		}
		w := job.NewCancelWatch(e.Clock.Now)
		sweep := func() int {
			open, _, err := e.Jobs.OpenCancels(t.Context(), 10, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range open {
				if err := e.Jobs.Enforce(t.Context(), c, w); err != nil {
					t.Fatal(err)
				}
			}
			w.EndRound()
			return len(open)
		}
		state := func() job.State {
			j, err := e.Jobs.Get(t.Context(), jobtest.Tenant, j.ID)
			if err != nil {
				t.Fatal(err)
			}
			return j.State
		}
		sweep()
		e.Clock.Advance(jobtest.Grace + 3*time.Second)
		if sweep(); state() != job.Running {
			t.Errorf("%s although its holder still had time", state())
		}
		e.Clock.Advance(time.Second)
		if sweep(); state() != job.Cancelled {
			t.Errorf("%s, want cancelled", state())
		}
		sweep() // the wish is settled
		if n := sweep(); n != 0 {
			t.Errorf("%d cancels are left open", n)
		}
	})
	t.Run("another tenant's job is the same as an unknown one", func(t *testing.T) {
		t.Parallel()
		e := jobtest.New(t)
		j := e.Submit(t, "mine")
		_, foreign := e.Jobs.Cancel(t.Context(), "mallory", j.ID, "")
		_, unknown := e.Jobs.Cancel(t.Context(), "mallory", "job_00000000000000000000000000", "")
		if errs.CodeOf(foreign) != errs.NotFound || foreign.Error() != unknown.Error() {
			t.Errorf("%v / %v", foreign, unknown)
		}
	})
}

func TestConversationRunsOneJobAtATimeInSubmitOrder(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	ids := make([]string, 0, 4)
	for i := range 4 {
		j, _, err := e.Jobs.Submit(t.Context(), job.Submission{
			Tenant: jobtest.Tenant, SessionID: "s", Spec: job.Spec{Prompt: fmt.Sprint(i)},
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	for i, jobID := range ids {
		for _, later := range ids[i+1:] {
			if _, err := e.Jobs.Claim(t.Context(), later, jobtest.ClaimOptions("w")); !errors.Is(err, job.ErrNotAdmitted) {
				t.Fatalf("claim out of order: %v", err)
			}
		}
		h := e.Claim(t, jobID, "w")
		if i > 0 && (h.Thread == nil || h.Thread.ID != fmt.Sprint("thread-", i-1)) {
			t.Errorf("job %d got thread %+v", i, h.Thread)
		}
		finish(t, h, job.Result{State: job.Completed, Thread: &conversation.Thread{ID: fmt.Sprint("thread-", i)}})
		if i+1 < len(ids) && e.Bus.Count(ids[i+1], events.TypeJobSubmittedV1) != 1 {
			t.Errorf("job %d was not announced when it became the head", i+1)
		}
	}
}

func TestConcurrentSubmitsToOneNewSession(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	convs := map[string]int{}
	for i := range 16 {
		wg.Go(func() {
			j, _, err := e.Jobs.Submit(t.Context(), job.Submission{
				Tenant: jobtest.Tenant, SessionID: "shared", Spec: job.Spec{Prompt: fmt.Sprint(i)},
			})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			convs[j.ConversationID]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(convs) != 1 {
		t.Fatalf("conversations: %v", convs)
	}
	c, err := e.Jobs.Conversations.BySession(t.Context(), jobtest.Tenant, "shared")
	if err != nil || len(c.Queue) != 16 {
		t.Errorf("queue: %+v %v", c, err)
	}
}

func TestIdempotentSubmit(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	sub := job.Submission{Tenant: jobtest.Tenant, IdempotencyKey: "k", Spec: job.Spec{Prompt: "once"}}
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]bool{}
	fresh := 0
	for range 12 {
		wg.Go(func() {
			j, replayed, err := e.Jobs.Submit(t.Context(), sub)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[j.ID] = true
			if !replayed {
				fresh++
			}
		})
	}
	wg.Wait()
	if len(ids) != 1 || fresh != 1 {
		t.Errorf("%d jobs, %d fresh", len(ids), fresh)
	}
	other := sub
	other.Spec.Prompt = "twice"
	if _, _, err := e.Jobs.Submit(t.Context(), other); errs.CodeOf(err) != errs.IdempotencyMismatch {
		t.Errorf("other parameters: %v", err)
	}
	other.Tenant = "neighbour"
	if _, replayed, err := e.Jobs.Submit(t.Context(), other); err != nil || replayed {
		t.Errorf("another tenant's key: replayed %v, %v", replayed, err)
	}
	e.Clock.Advance(25 * time.Hour)
	other.Tenant = jobtest.Tenant
	if _, replayed, err := e.Jobs.Submit(t.Context(), other); err != nil || replayed {
		t.Errorf("after its time the key is free: replayed %v, %v", replayed, err)
	}
}

func TestNudgesSpaceOut(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "nobody listens")
	for range 30 * 60 {
		due, _, err := e.Jobs.DueJobs(t.Context(), job.DueClaim, e.Clock.Now(), 10, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range due {
			if err := e.Jobs.Repair(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		e.Clock.Advance(time.Second)
	}
	n := e.Bus.Count(j.ID, events.TypeJobSubmittedV1)
	if n < 7 || n > 13 {
		t.Errorf("announced %d times in 30 minutes", n)
	}
}

func TestALongPromptAndAnswerLiveInBlobs(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	prompt := strings.Repeat("длинно\x01\x02", 100_000) // grows sixfold in JSON
	j := e.Submit(t, prompt)
	h := e.Claim(t, j.ID, "w")
	claimed := h.Job()
	spec, err := e.Jobs.LoadSpec(t.Context(), &claimed)
	if err != nil || spec.Prompt != prompt || claimed.Spec != nil {
		t.Errorf("spec: %v, inline %v", err, claimed.Spec != nil)
	}
	finish(t, h, job.Result{State: job.Completed, Content: prompt})
	got, err := e.Jobs.Get(t.Context(), jobtest.Tenant, j.ID)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := e.Jobs.LoadContent(t.Context(), got); err != nil || content != prompt {
		t.Errorf("content of %d bytes, %v", len(content), err)
	}
}

func TestAHugeEventIsStoredWhole(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "huge")
	h := e.Claim(t, j.ID, "w")
	params := json.RawMessage(`"` + strings.Repeat("x", 3<<20) + `"`)
	if err := h.Log.Append(t.Context(), eventlog.Entry{Type: eventlog.TypeCodex, Time: e.Clock.Now(), Data: eventlog.CodexData("m", params)}); err != nil {
		t.Fatal(err)
	}
	finish(t, h, job.Result{State: job.Completed})
	page, err := e.Jobs.Log.Read(t.Context(), j.ID, 2, 1)
	if err != nil || len(page.Events) != 1 || len(page.Events[0]) < 3<<20 {
		t.Errorf("%v, %d events", err, len(page.Events))
	}
}

func TestListPagesNewestFirst(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	var want []string
	for i := range 7 {
		e.Clock.Advance(time.Millisecond)
		want = append([]string{e.Submit(t, fmt.Sprint(i)).ID}, want...)
	}
	var got []string
	for cursor := ""; ; {
		jobs, next, err := e.Jobs.List(t.Context(), jobtest.Tenant, job.Filter{Limit: 3, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			got = append(got, j.ID)
		}
		if cursor = next; next == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, _, err := e.Jobs.List(t.Context(), jobtest.Tenant, job.Filter{Cursor: "garbage"}); errs.CodeOf(err) != errs.InvalidParams {
		t.Errorf("bad cursor: %v", err)
	}
}

// TestAForeignJobIsNotDecoded: a large document of another tenant must not take
// longer than one that is not there. What cannot be decoded shows that it was not.
func TestAForeignJobIsNotDecoded(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	const broken = "job_00000000000000000000000000"
	_, err := e.Docs.Commit(t.Context(), []docstore.Write{{
		Op: docstore.Create, Key: docstore.Key{Collection: job.Collection, ID: broken}, Data: []byte("{"), Fields: docstore.Fields{"tenant": "a"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, foreign := e.Jobs.Get(t.Context(), "mallory", broken)
	_, unknown := e.Jobs.Get(t.Context(), "mallory", "job_11111111111111111111111111")
	if errs.CodeOf(foreign) != errs.NotFound || foreign.Error() != unknown.Error() {
		t.Errorf("%v / %v", foreign, unknown)
	}
	if _, err := e.Jobs.Get(t.Context(), "a", broken); err == nil || errs.CodeOf(err) == errs.NotFound {
		t.Errorf("of the tenant itself: %v", err)
	}
}
