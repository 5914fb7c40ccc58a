package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/edge/internal/edgetest"
)

// TestShapes pins what each method answers.
func TestShapes(t *testing.T) {
	t.Parallel()
	g := start(t)
	accepted := g.rpc("conversation.prompt", map[string]any{"prompt": "hello", "session_id": "s1", "metadata": map[string]string{"k": "v"}})
	golden(t, "prompt_accepted", accepted.Result)
	j := decode[apiv1.Accepted](t, accepted.Result)
	ref := map[string]any{"job_id": j.JobID}

	h := g.Claim(t, j.JobID)
	edgetest.Say(t, h, "item/started", `{"item":{"id":"i1"}}`)
	golden(t, "conversation_active", g.rpc("conversation.status", map[string]any{"session_id": "s1"}).Result)
	edgetest.Complete(t, h, "the answer")

	golden(t, "job_get", g.rpc("job.get", ref).Result)
	golden(t, "job_list", g.rpc("job.list", map[string]any{"status": "completed", "session_id": "s1"}).Result)
	golden(t, "job_events", g.rpc("job.events", ref).Result)
	golden(t, "job_artifacts", g.rpc("job.artifacts", ref).Result)
	golden(t, "conversation_idle", g.rpc("conversation.status", map[string]any{"conversation_id": j.ConversationID}).Result)
	golden(t, "conversation_unknown", g.rpc("conversation.status", map[string]any{"session_id": "nobody"}).Result)
	golden(t, "conversation_cancel", g.rpc("conversation.cancel", map[string]any{"session_id": "s1"}).Result)
	golden(t, "ping", g.rpc("system.ping", nil).Result)
	golden(t, "discover", g.rpc("rpc.discover", nil).Result)

	queued := g.Submit(t, job.Submission{})
	golden(t, "job_cancel", g.rpc("job.cancel", map[string]any{"job_id": queued.ID}).Result)
	golden(t, "job_retry", g.rpc("job.retry", map[string]any{"job_id": queued.ID}).Result)
}

func TestPromptWaits(t *testing.T) {
	t.Parallel()
	t.Run("and has the answer", func(t *testing.T) {
		t.Parallel()
		g := start(t)
		done := make(chan answer, 1)
		go func() {
			done <- g.rpc("conversation.prompt", map[string]any{"prompt": "hello", "wait": 30})
		}()
		h := g.Claim(t, g.firstJob())
		edgetest.Say(t, h, "turn/started", `{}`)
		edgetest.Say(t, h, "item/started", `{"item":{"id":"i1","type":"agentMessage"}}`)
		edgetest.Say(t, h, "item/agentMessage/delta", `{"itemId":"i1","delta":"the "}`)
		edgetest.Say(t, h, "item/reasoning/summaryTextDelta", `{"itemId":"i0","delta":"hm"}`)
		edgetest.Say(t, h, "item/completed", `{"item":{"id":"i1","type":"agentMessage","text":"the answer"}}`)
		edgetest.Complete(t, h, "the answer")
		golden(t, "prompt_answer", (<-done).Result)
	})
	t.Run("until the wait is over", func(t *testing.T) {
		t.Parallel()
		g := start(t)
		got := call[apiv1.Accepted](g, "conversation.prompt", map[string]any{"prompt": "hello", "wait": 1})
		if got.Type != "job" || got.Status != "queued" {
			t.Errorf("%+v, want a queued job", got)
		}
	})
	t.Run("until the instance goes away", func(t *testing.T) {
		t.Parallel()
		g := start(t, func(c *edge.Config) { c.DrainTimeout = time.Minute })
		done := make(chan answer, 1)
		go func() { done <- g.rpc("conversation.prompt", map[string]any{"prompt": "hello", "wait": 60}) }()
		g.Claim(t, g.firstJob())
		began := time.Now()
		g.stop()
		if got := decode[apiv1.Accepted](t, (<-done).Result); got.Type != "job" || got.Status != "running" {
			t.Errorf("%+v, want a running job", got)
		}
		if took := time.Since(began); took > 30*time.Second { // and not the minute of either wait
			t.Errorf("the stop took %s", took)
		}
	})
}

// firstJob waits for the first job and returns its id.
func (g *gateway) firstJob() string {
	g.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-g.t.Context().Done():
			g.t.Fatal("no job came")
		case <-tick.C:
		}
		jobs, _, err := g.Jobs.List(g.t.Context(), edgetest.Tenant, job.Filter{})
		if err != nil {
			g.t.Fatal(err)
		}
		if len(jobs) > 0 {
			return jobs[0].ID
		}
	}
}

func TestFailedJobIsNoRPCError(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	h := g.Claim(t, j.ID)
	err := h.Finish(t.Context(), job.Result{State: job.Failed, Error: job.NewError("stalled", "")})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "job_failed", g.rpc("job.get", map[string]any{"job_id": j.ID}).Result)
}

func TestLongContentIsWhole(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{Spec: job.Spec{OutputSchema: []byte(`{"type":"object"}`)}})
	h := g.Claim(t, j.ID)
	content := `{"text":"` + strings.Repeat("x", 400<<10) + `"}`
	if err := h.Finish(t.Context(), job.Result{State: job.Completed, Content: content, Structured: []byte(content)}); err != nil {
		t.Fatal(err)
	}
	got := call[apiv1.Job](g, "job.get", map[string]any{"job_id": j.ID})
	if got.Content != content {
		t.Errorf("content has %d bytes, want %d", len(got.Content), len(content))
	}
	if len(got.Structured) != len(content) {
		t.Errorf("structured has %d bytes, want %d", len(got.Structured), len(content))
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	g := start(t)
	post := func(key, params string) (reply, answer) {
		resp := g.request(http.MethodPost, "/jsonrpc", map[string]string{"Idempotency-Key": key},
			`{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":`+params+`}`)
		return resp, decode[answer](t, resp.body)
	}
	resp, first := post("k1", `{"prompt":"a"}`)
	if resp.header.Get("Idempotency-Replayed") != "" {
		t.Error("the first answer is marked as replayed")
	}
	j := decode[apiv1.Accepted](t, first.Result)
	edgetest.Complete(t, g.Claim(t, j.JobID), "done")

	for _, key := range []string{"k1", `"k1"`} {
		resp, again := post(key, `{"prompt":"a"}`)
		if diff := cmp.Diff(string(first.Result), string(again.Result)); diff != "" {
			t.Errorf("replay (-first +again):\n%s", diff)
		}
		if resp.header.Get("Idempotency-Replayed") != "true" {
			t.Error("the replay is not marked")
		}
	}
	if _, again := post("", `{"prompt":"a","idempotency_key":"k1"}`); string(again.Result) != string(first.Result) {
		t.Errorf("key in params: %s, want the first answer", again.Result)
	}
	if _, a := post("k1", `{"prompt":"b"}`); a.Error == nil || a.Error.Code != -32007 {
		t.Errorf("other params: %+v, want -32007", a)
	}
	if _, a := post("k1", `{"prompt":"a","idempotency_key":"k2"}`); a.Error == nil || a.Error.Code != -32602 {
		t.Errorf("two keys: %+v, want -32602", a)
	}
	if _, a := post(strings.Repeat("x", 256), `{"prompt":"a"}`); a.Error == nil || a.Error.Code != -32602 {
		t.Errorf("long key: %+v, want -32602", a)
	}
	resp = g.request(http.MethodPost, "/jsonrpc", map[string]string{"Idempotency-Key": "k9"},
		`[{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":{"prompt":"a"}}]`)
	if a := decode[[]answer](t, resp.body); a[0].Error == nil || a[0].Error.Code != -32602 {
		t.Errorf("header over a batch: %+v, want -32602", a)
	}
}

func TestMethodErrors(t *testing.T) {
	t.Parallel()
	g := start(t)
	finished := g.Submit(t, job.Submission{SessionID: "mine"})
	edgetest.Complete(t, g.Claim(t, finished.ID), "done")
	unfinished := g.Submit(t, job.Submission{SessionID: "unfinished"})
	foreign := g.Submit(t, job.Submission{Tenant: "other", SessionID: "theirs"})
	unknown := "job_" + strings.Repeat("0", 26)

	for _, tc := range []struct {
		name   string
		method string
		params any
		code   int
		field  string
	}{
		{"unknown method", "job.frobnicate", nil, -32601, ""},
		{"subscribe without a socket", "job.subscribe", map[string]any{"job_id": finished.ID}, -32601, ""},
		{"no job id", "job.get", map[string]any{}, -32602, "/job_id"},
		{"unknown param", "job.get", map[string]any{"job_id": finished.ID, "x": 1}, -32602, "/x"},
		{"too many params by position", "job.get", []any{finished.ID, 1}, -32602, "/1"},
		{"unknown job by position", "job.get", []any{unknown}, -32004, ""},
		{"unknown job", "job.get", map[string]any{"job_id": unknown}, -32004, ""},
		{"malformed job id", "job.get", map[string]any{"job_id": "../etc"}, -32004, ""},
		{"another tenant's job", "job.get", map[string]any{"job_id": foreign.ID}, -32004, ""},
		{"events of another tenant's job", "job.events", map[string]any{"job_id": foreign.ID}, -32004, ""},
		{"artifacts of another tenant's job", "job.artifacts", map[string]any{"job_id": foreign.ID}, -32004, ""},
		{"cancel another tenant's job", "job.cancel", map[string]any{"job_id": foreign.ID}, -32004, ""},
		{"another tenant's conversation", "conversation.status", map[string]any{"conversation_id": foreign.ConversationID}, -32004, ""},
		{"cancel another tenant's conversation", "conversation.cancel", map[string]any{"conversation_id": foreign.ConversationID}, -32004, ""},
		{"prompt in another tenant's conversation", "conversation.prompt", map[string]any{"prompt": "x", "conversation_id": foreign.ConversationID}, -32004, "/conversation_id"},
		{"cancel another tenant's session", "conversation.cancel", map[string]any{"session_id": "theirs"}, -32602, "/session_id"},
		{"cancel an unknown session", "conversation.cancel", map[string]any{"session_id": "nobody"}, -32602, "/session_id"},
		{"retry a job that has not ended", "job.retry", map[string]any{"job_id": unfinished.ID}, -32005, ""},
		{"retry another tenant's job", "job.retry", map[string]any{"job_id": foreign.ID}, -32004, ""},
		{"retry nothing", "job.retry", nil, -32602, "/job_id"},
		{"retry with a long key", "job.retry", map[string]any{"job_id": finished.ID, "idempotency_key": strings.Repeat("k", 300)}, -32602, "/idempotency_key"},
		{"cancel a finished job", "job.cancel", map[string]any{"job_id": finished.ID}, -32005, ""},
		{"long reason", "job.cancel", map[string]any{"job_id": finished.ID, "reason": strings.Repeat("x", 600)}, -32602, "/reason"},
		{"status of nothing", "conversation.status", map[string]any{}, -32602, "/session_id"},
		{"status of two", "conversation.status", map[string]any{"session_id": "a", "conversation_id": "b"}, -32602, "/conversation_id"},
		{"negative after", "job.events", map[string]any{"job_id": finished.ID, "after": -1}, -32602, "/after"},
		{"large limit", "job.events", map[string]any{"job_id": finished.ID, "limit": 1001}, -32602, "/limit"},
		{"bad status", "job.list", map[string]any{"status": "done"}, -32602, "/status"},
		{"list limit", "job.list", map[string]any{"limit": 201}, -32602, "/limit"},
		{"bad cursor", "job.list", map[string]any{"cursor": "xyz"}, -32602, "/cursor"},
		{"long cursor", "job.list", map[string]any{"cursor": strings.Repeat("x", 5000)}, -32602, "/cursor"},
		{"session with a control character", "job.list", map[string]any{"session_id": "a\x00"}, -32602, "/session_id"},
		{"ping with params", "system.ping", map[string]any{"x": 1}, -32602, "/x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := g.rpc(tc.method, tc.params)
			if a.Error == nil {
				t.Fatalf("result %s, want error %d", a.Result, tc.code)
			}
			field, _ := a.Error.Data["field"].(string)
			if a.Error.Code != tc.code || field != tc.field {
				t.Errorf("code %d field %q, want %d %q", a.Error.Code, field, tc.code, tc.field)
			}
			for _, member := range []string{"code", "retryable", "request_id"} {
				if _, ok := a.Error.Data[member]; !ok {
					t.Errorf("data has no %s", member)
				}
			}
		})
	}
}

func TestForeignSessionIsUnknown(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.Submit(t, job.Submission{Tenant: "other", SessionID: "theirs"})
	got := call[map[string]any](g, "conversation.status", map[string]any{"session_id": "theirs"})
	if diff := cmp.Diff(map[string]any{"status": "not_found", "session_id": "theirs"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestConversationCancelStopsAll(t *testing.T) {
	t.Parallel()
	g := start(t)
	var ids []string
	for range 3 {
		ids = append(ids, g.Submit(t, job.Submission{SessionID: "s"}).ID)
	}
	g.Claim(t, ids[0])
	got := call[apiv1.ConversationCancelResult](g, "conversation.cancel", map[string]any{"session_id": "s"})
	if diff := cmp.Diff(ids, got.CancelledJobs); diff != "" {
		t.Errorf("cancelled (-want +got):\n%s", diff)
	}
	for i, want := range []string{"running", "cancelled", "cancelled"} {
		if j := call[apiv1.Job](g, "job.get", map[string]any{"job_id": ids[i]}); j.Status != want {
			t.Errorf("job %d is %s, want %s", i, j.Status, want)
		}
	}
	status := call[apiv1.ConversationStatus](g, "conversation.status", map[string]any{"session_id": "s"})
	if status.Status != "active" || status.QueuedJobs != 0 {
		t.Errorf("%+v, want active with no queued jobs", status)
	}
}

func TestJobListPages(t *testing.T) {
	t.Parallel()
	g := start(t)
	var want []string
	for i := range 5 {
		want = append([]string{g.Submit(t, job.Submission{SessionID: fmt.Sprint(i)}).ID}, want...)
	}
	var got []string
	cursor := ""
	for {
		page := call[apiv1.JobListResult](g, "job.list", map[string]any{"limit": 2, "cursor": cursor})
		for _, j := range page.Jobs {
			got = append(got, j.JobID)
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
}

func TestJobEventsPages(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	h := g.Claim(t, j.ID)
	for range 7 {
		edgetest.Say(t, h, "item/started", `{}`)
	}
	edgetest.Complete(t, h, "done")
	after := int64(0)
	var seqs []int64
	for range 10 {
		page := call[apiv1.EventPage](g, "job.events", map[string]any{"job_id": j.ID, "after": after, "limit": 3})
		for _, e := range page.Events {
			seqs = append(seqs, e.Seq)
		}
		if after = page.Next; page.Done {
			break
		}
	}
	if diff := cmp.Diff([]int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, seqs); diff != "" {
		t.Errorf("seqs (-want +got):\n%s", diff)
	}
	last := call[apiv1.EventPage](g, "job.events", map[string]any{"job_id": j.ID, "after": 10})
	if !last.Done || len(last.Events) != 0 || last.Next != 10 {
		t.Errorf("after the end: %+v, want an empty page that is done", last)
	}
}
