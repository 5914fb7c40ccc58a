package edge_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/edge/internal/edgetest"
)

const (
	execTurn = `{"threadId":"thr_1","turn":{"id":"turn_1","status":"inProgress","items":[]}}`
	execSaid = `{"threadId":"thr_1","turnId":"turn_1","item":{"type":"agentMessage","id":"msg_1","text":"Hello <you>."}}`
	execUse  = `{"threadId":"thr_1","turnId":"turn_1","tokenUsage":{"total":{"inputTokens":5,"cachedInputTokens":4,"cacheWriteInputTokens":3,"outputTokens":2,"reasoningOutputTokens":1}}}`
)

// nextLine reads one line of a stream.
func nextLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	l, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("the stream ended: %v", err)
	}
	return strings.TrimSuffix(l, "\n")
}

func TestExecStreamsAJobAsCodexExecPrintsIt(t *testing.T) {
	t.Parallel()
	g := start(t)
	resp, body := g.stream(http.MethodPost, "/exec", nil, `{"prompt":"hello","session_id":"s","wait":60}`)
	jobID := resp.header.Get("X-Job-Id")
	j := call[apiv1.Job](g, "job.get", map[string]any{"job_id": jobID})
	if resp.status != http.StatusOK || resp.header.Get("Content-Type") != "application/x-ndjson" || resp.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", resp.status, resp.header)
	}
	if want := "<" + g.url + "/v1/jobs/" + jobID + `/events>; rel="monitor"`; resp.header.Get("Link") != want {
		t.Errorf("Link %q, want %q", resp.header.Get("Link"), want)
	}
	// The first line is there before a worker is.
	lines := []string{nextLine(t, body)}
	h := g.Claim(t, jobID)
	edgetest.Say(t, h, "turn/started", execTurn)
	lines = append(lines, nextLine(t, body)) // each line comes by itself
	edgetest.Say(t, h, "item/agentMessage/delta", `{"threadId":"thr_1","itemId":"msg_1","delta":"Hello"}`)
	edgetest.Say(t, h, "item/completed", execSaid)
	lines = append(lines, nextLine(t, body))
	edgetest.Say(t, h, "thread/tokenUsage/updated", execUse)
	edgetest.Say(t, h, "turn/completed", `{"threadId":"thr_1","turn":{"id":"turn_1","status":"completed","items":[]}}`)
	edgetest.Complete(t, h, "Hello <you>.")
	rest, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{
		`{"type":"thread.started","thread_id":"` + j.ConversationID + `"}`,
		`{"type":"turn.started"}`,
		`{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"Hello <you>."}}`,
		`{"type":"turn.completed","usage":{"input_tokens":5,"cached_input_tokens":4,"cache_write_input_tokens":3,"output_tokens":2,"reasoning_output_tokens":1}}` + "\n",
	}, append(lines, string(rest))); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestExecSaidTwiceIsOneJobAndTheWholeStream(t *testing.T) {
	t.Parallel()
	g := start(t)
	key := map[string]string{"Idempotency-Key": "once"}
	first, body := g.stream(http.MethodPost, "/exec", key, `{"prompt":"hello"}`)
	h := g.Claim(t, first.header.Get("X-Job-Id"))
	edgetest.Say(t, h, "turn/started", execTurn)
	edgetest.Say(t, h, "item/completed", execSaid)
	edgetest.Complete(t, h, "Hello <you>.")
	lines, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	again := g.request(http.MethodPost, "/exec", key, `{"prompt":"hello"}`)
	if again.header.Get("X-Job-Id") != first.header.Get("X-Job-Id") || again.header.Get("Idempotency-Replayed") != "true" || first.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("first %v\nagain %v", first.header, again.header)
	}
	if d := cmp.Diff(string(lines), string(again.body)); d != "" {
		t.Errorf("(-first +again)\n%s", d)
	}
	other := g.request(http.MethodPost, "/exec", key, `{"prompt":"something else"}`)
	if p := decode[map[string]any](t, other.body); other.status != http.StatusUnprocessableEntity || p["code"] != "idempotency_mismatch" {
		t.Errorf("%d %s", other.status, other.body)
	}
}

func TestExecEndsWithACancel(t *testing.T) {
	t.Parallel()
	g := start(t)
	resp, body := g.stream(http.MethodPost, "/exec", nil, `{"prompt":"hello"}`)
	call[apiv1.JobCancelResult](g, "job.cancel", map[string]any{"job_id": resp.header.Get("X-Job-Id")})
	lines, err := io.ReadAll(body)
	if want := `{"type":"turn.failed","error":{"message":"The job was cancelled."}}` + "\n"; err != nil || !strings.HasSuffix(string(lines), want) {
		t.Errorf("%v, %s", err, lines)
	}
}

// Who leaves has seen enough; the job goes on, and its events are where the
// answer said.
func TestExecOutlivesItsClient(t *testing.T) {
	t.Parallel()
	g := start(t)
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/exec", strings.NewReader(`{"prompt":"hello"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", adminKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := g.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	jobID := resp.Header.Get("X-Job-Id")
	nextLine(t, bufio.NewReader(resp.Body))
	leave()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	edgetest.Complete(t, g.Claim(t, jobID), "done")
	if j := call[apiv1.Job](g, "job.get", map[string]any{"job_id": jobID}); j.Status != apiv1.StatusCompleted {
		t.Errorf("status %s", j.Status)
	}
}

func TestExecRefusals(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.BodyLimitExec = 4 << 10 })
	for _, tc := range []struct {
		name, method string
		header       map[string]string
		body         string
		status       int
		code, field  string
	}{
		{"wrong method", http.MethodGet, nil, "", 405, "invalid_request", ""},
		{"no key", http.MethodPost, map[string]string{"X-API-Key": ""}, `{"prompt":"x"}`, 401, "unauthenticated", ""},
		{"form", http.MethodPost, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, "prompt=x", 415, "invalid_request", ""},
		{"no content type", http.MethodPost, map[string]string{"Content-Type": ""}, `{"prompt":"x"}`, 415, "invalid_request", ""},
		{"too large", http.MethodPost, nil, `{"prompt":"` + strings.Repeat("x", 4<<10) + `"}`, 413, "payload_too_large", ""},
		{"no JSON", http.MethodPost, nil, `{"prompt":`, 400, "invalid_params", "/prompt"},
		{"two values", http.MethodPost, nil, `{"prompt":"x"}{"prompt":"y"}`, 400, "invalid_params", ""},
		{"array", http.MethodPost, nil, `["x"]`, 400, "invalid_params", ""},
		{"nothing", http.MethodPost, nil, ` `, 400, "invalid_params", "/prompt"},
		{"unknown field", http.MethodPost, nil, `{"prompt":"x","colour":"red"}`, 400, "invalid_params", "/colour"},
		{"unknown field of a field", http.MethodPost, nil, `{"prompt":"x","repo":{"url":"https://example.com/a","branch":"b"}}`, 400, "invalid_params", "/repo/branch"},
		{"field twice", http.MethodPost, nil, `{"prompt":"x","prompt":"y"}`, 400, "invalid_params", "/prompt"},
		{"wrong type", http.MethodPost, nil, `{"prompt":1}`, 400, "invalid_params", "/prompt"},
		{"wrong value", http.MethodPost, nil, `{"prompt":"x","sandbox":"none"}`, 400, "invalid_params", "/sandbox"},
		{"wait that conversation.prompt does not take", http.MethodPost, nil, `{"prompt":"x","wait":61}`, 400, "invalid_params", "/wait"},
		{"no such conversation", http.MethodPost, nil, `{"prompt":"x","conversation_id":"conv_x"}`, 404, "not_found", "/conversation_id"},
		{"two keys", http.MethodPost, map[string]string{"Idempotency-Key": "a"}, `{"prompt":"x","idempotency_key":"b"}`, 400, "invalid_params", "/idempotency_key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := g.request(tc.method, "/exec", tc.header, tc.body)
			p := decode[map[string]any](t, r.body)
			field, _ := p["field"].(string)
			if r.status != tc.status || p["code"] != tc.code || field != tc.field || r.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %s", r.status, r.body)
			}
			if r.header.Get("X-Job-Id") != "" {
				t.Error("it names a job")
			}
		})
	}
}

// A stream too many is refused before its job is stored: who tries again must
// not have two.
func TestExecTakesItsPlaceBeforeItSubmits(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.MaxStreams = 1 })
	g.stream(http.MethodPost, "/exec", nil, `{"prompt":"hello"}`)
	r := g.request(http.MethodPost, "/exec", nil, `{"prompt":"hello"}`)
	if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q", r.status, r.header.Get("Retry-After"))
	}
	if l := call[apiv1.JobListResult](g, "job.list", nil); len(l.Jobs) != 1 {
		t.Errorf("%d jobs, want 1", len(l.Jobs))
	}
}
