package mockmodel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/secret"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fixedNow is the clock of golden tests.
func fixedNow() time.Time { return time.Unix(1795374018, 0) }

type item = map[string]any

func user(text string) item {
	return item{"type": "message", "role": "user", "content": []item{{"type": "input_text", "text": text}}}
}

func output() item {
	return item{"type": "function_call_output", "call_id": "c", "output": "ok"}
}

// body is a request as Codex sends one, reduced to what matters.
func body(t *testing.T, key string, tools []item, input ...item) string {
	t.Helper()
	b, err := json.Marshal(item{
		"model": "gpt-5.5", "stream": true, "prompt_cache_key": key, "tools": tools,
		"input": append([]item{user("<environment_context>\n</environment_context>")}, input...),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func functionTools() []item {
	return []item{{"type": "function", "name": "exec_command"}, {"type": "custom", "name": "apply_patch"}}
}

// post plays one request against the handler, without a network.
func post(t *testing.T, s http.Handler, body string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, mockmodel.Path, strings.NewReader(body))
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
				panic(p)
			}
		}()
		s.ServeHTTP(w, req)
	}()
	return w
}

func TestStreamIsTheRecordedWireFormat(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		tools []item
		input []item
	}{
		{"hello", functionTools(), []item{user("what is <this> & that?")}},
		{"say_then_shell", functionTools(), []item{user("mock: say Running it. mock: shell echo \"hi\"")}},
		{"after_shell", functionTools(), []item{user("mock: shell true mock: usage 3 4"), output()}},
		{"patch", functionTools(), []item{user("mock: patch\n*** Begin Patch\n*** Delete File: a\n*** End Patch\nmock: say x")}},
		{"escalate", functionTools(), []item{user("mock: escalate id -u")}},
		{"reasoning_and_deltas", functionTools(), []item{user("mock: reasoning Let me see. mock: deltas 2 0")}},
		{"fail", functionTools(), []item{user("mock: fail context_length_exceeded")}},
		{"cut", functionTools(), []item{user("mock: cut")}},
		{"bad_json", functionTools(), []item{user("mock: bad-json")}},
		{"code_mode_shell", nil, []item{{"type": "additional_tools"}, user("mock: shell echo hi")}},
		{"code_mode_patch", nil, []item{{"type": "additional_tools"}, user(`mock: write a b\nc`)}},
		{"shell_patch", []item{{"type": "function", "name": "exec_command"}}, []item{user("mock: write a b")}},
		{"wrong_directive", functionTools(), []item{user("mock: dance")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := post(t, mockmodel.New(mockmodel.Options{Now: fixedNow}), body(t, "thread-1", tt.tools, tt.input...))
			if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream") {
				t.Fatalf("status %d, content type %q", w.Code, w.Header().Get("Content-Type"))
			}
			golden(t, tt.name+".sse", w.Body.Bytes())
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// TestStepsFollowTheToolOutputs plays a whole turn: each output moves the
// script one response on, and outputs of earlier turns do not count.
func TestStepsFollowTheToolOutputs(t *testing.T) {
	t.Parallel()
	s := mockmodel.New(mockmodel.Options{})
	script := user("mock: wait 500 mock: shell one\nmock: shell two\nmock: say three")
	input := append(make([]item, 0, 8), user("earlier"), output(), script)
	for _, want := range []string{`{\"cmd\":\"one\",\"yield_time_ms\":500}`, `{\"cmd\":\"two\",\"yield_time_ms\":30000}`, `"three"`, `"three"`} {
		got := post(t, s, body(t, "k", functionTools(), input...)).Body.String()
		if !strings.Contains(got, want) {
			t.Errorf("after %d items: no %s in\n%s", len(input), want, got)
		}
		input = append(input, output())
	}
}

func TestStatusFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, script string
		want         []int
		retryAfter   string
		errType      string
	}{
		{"counted", "mock: status 429 2 mock: say ok", []int{429, 429, 200, 200}, "", "requests"},
		{"endless", "mock: status 500", []int{500, 500, 500}, "", "server_error"},
		{"retry after", "mock: status 503 1 retry-after 7", []int{503, 200}, "7", "server_error"},
		{"typed", "mock: status 429 type usage_limit_reached", []int{429}, "", "usage_limit_reached"},
		{"in a row", "mock: status 500 1 mock: status 429 1", []int{500, 429, 200}, "", "server_error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := mockmodel.New(mockmodel.Options{})
			for i, want := range tt.want {
				w := post(t, s, body(t, "k", functionTools(), user(tt.script)))
				if w.Code != want {
					t.Fatalf("request %d: status %d, want %d", i, w.Code, want)
				}
				if i > 0 {
					continue
				}
				if got := w.Header().Get("Retry-After"); got != tt.retryAfter {
					t.Errorf("Retry-After = %q, want %q", got, tt.retryAfter)
				}
				var e struct {
					Error struct{ Type string } `json:"error"`
				}
				if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error.Type != tt.errType {
					t.Errorf("body %s (%v), want type %s", w.Body, err, tt.errType)
				}
			}
		})
	}
}

// TestFaultCountersAreApart: another conversation, and the same text in a later
// turn, start their own count.
func TestFaultCountersAreApart(t *testing.T) {
	t.Parallel()
	s := mockmodel.New(mockmodel.Options{})
	script := user("mock: status 500 1")
	for i, step := range []struct {
		body string
		want int
	}{
		{body(t, "a", nil, script), 500},
		{body(t, "b", nil, script), 500},
		{body(t, "a", nil, script), 200},
		{body(t, "a", nil, script, script), 500},
		{body(t, "b", nil, script), 200},
	} {
		if got := post(t, s, step.body).Code; got != step.want {
			t.Errorf("request %d: status %d, want %d", i, got, step.want)
		}
	}
}

// TestFaultCountersAreBounded: with 4096 newer counters the first is forgotten.
func TestFaultCountersAreBounded(t *testing.T) {
	t.Parallel()
	s := mockmodel.New(mockmodel.Options{})
	script := user("mock: status 500 1")
	for i := range 4097 {
		if got := post(t, s, body(t, strconv.Itoa(i), nil, script)).Code; got != http.StatusInternalServerError {
			t.Fatalf("request %d: status %d", i, got)
		}
	}
	if got := post(t, s, body(t, "4096", nil, script)).Code; got != http.StatusOK {
		t.Errorf("newest counter: status %d, want 200", got)
	}
	if got := post(t, s, body(t, "0", nil, script)).Code; got != http.StatusInternalServerError {
		t.Errorf("forgotten counter: status %d, want 500", got)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	good := `{"model":"m","stream":true,"input":"hi"}`
	tests := []struct {
		name, method, path, token, body string
		want                            int
		contentType                     string
	}{
		{"other path", http.MethodGet, "/v1/models", "tok", "", 404, "application/problem+json"},
		{"other method", http.MethodGet, mockmodel.Path, "tok", "", 405, "application/problem+json"},
		{"path below", http.MethodPost, mockmodel.Path + "/x", "tok", good, 404, "application/problem+json"},
		{"no token", http.MethodPost, mockmodel.Path, "", good, 401, "application/json"},
		{"wrong token", http.MethodPost, mockmodel.Path, "tok2", good, 401, "application/json"},
		{"not JSON", http.MethodPost, mockmodel.Path, "tok", `{"model":`, 400, "application/json"},
		{"not a stream", http.MethodPost, mockmodel.Path, "tok", `{"input":"hi"}`, 400, "application/json"},
		{"no input", http.MethodPost, mockmodel.Path, "tok", `{"stream":true}`, 400, "application/json"},
		{"text input", http.MethodPost, mockmodel.Path, "tok", good, 200, "text/event-stream; charset=utf-8"},
	}
	s := mockmodel.New(mockmodel.Options{Token: secret.NewValue("tok")})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, strings.NewReader(tt.body))
			if tt.token != "" {
				req.Header.Set("Authorization", "Bearer "+tt.token)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, req)
			if got := w.Header().Get("Content-Type"); w.Code != tt.want || got != tt.contentType {
				t.Errorf("status %d, content type %q; want %d, %q", w.Code, got, tt.want, tt.contentType)
			}
		})
	}
}

func TestRecordsTheNewestRequests(t *testing.T) {
	t.Parallel()
	s := mockmodel.New(mockmodel.Options{Record: 2})
	bodies := make([]string, 0, 3)
	for i := range 3 {
		bodies = append(bodies, body(t, strconv.Itoa(i), nil, user("hi")))
		post(t, s, bodies[i])
	}
	recorded := s.Requests()
	got := make([]string, 0, len(recorded))
	for _, r := range recorded {
		got = append(got, string(r.Body))
	}
	if diff := cmp.Diff(bodies[1:], got); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}

// TestPausesTakeTheTimeAsked runs on a fake clock.
func TestPausesTakeTheTimeAsked(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, script string
		want         time.Duration
	}{
		{"none", "mock: say a b c", 0},
		{"slow first", "mock: slow-first 1500", 1500 * time.Millisecond},
		{"deltas", "mock: deltas 5 100", 400 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				post(t, mockmodel.New(mockmodel.Options{}), body(t, "k", nil, user(tt.script)))
				if got := time.Since(start); got != tt.want {
					t.Errorf("took %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// TestHangEnds: a hanging response ends with its client or with the server.
func TestHangEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(t *testing.T, m *mockmodel.Running, leave context.CancelFunc)
	}{
		{"when the client leaves", func(_ *testing.T, _ *mockmodel.Running, leave context.CancelFunc) { leave() }},
		{"when the server stops", func(t *testing.T, m *mockmodel.Running, _ context.CancelFunc) {
			t.Helper()
			if err := m.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := mockmodel.Start(t.Context(), mockmodel.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.BaseURL()+"/responses",
				strings.NewReader(body(t, "k", nil, user("mock: say first mock: hang"))))
			if err != nil {
				t.Fatal(err)
			}
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			res, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			got := make([]byte, 0, 4096)
			for !bytes.Contains(got, []byte("response.output_item.done")) {
				n, err := res.Body.Read(got[len(got):cap(got)])
				if err != nil {
					t.Fatalf("%v after %s", err, got)
				}
				got = got[:len(got)+n]
			}
			tt.end(t, m, leave)
			rest, _ := io.ReadAll(res.Body)
			if bytes.Contains(rest, []byte("response.completed")) {
				t.Errorf("the hung response completed: %s", rest)
			}
			if err := m.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func FuzzServe(f *testing.F) {
	f.Add("mock: say a mock: shell b\nmock: patch\n*** Begin Patch\n*** End Patch", uint8(0))
	f.Add("mock: status 429 2 retry-after 3 type x mock: fail y 1 mock: cut 1 mock: bad-json 1", uint8(1))
	f.Add("mock: usage 1 2 mock: write a b mock: escalate c mock: deltas 3 0 mock: reasoning d", uint8(9))
	f.Add("mock:", uint8(3))
	f.Fuzz(func(t *testing.T, prompt string, outputs uint8) {
		if strings.Contains(prompt, "hang") || strings.Contains(prompt, "slow-first") || strings.Contains(prompt, "deltas") {
			t.Skip("waits by design")
		}
		input := append(make([]item, 0, 1+int(outputs)), user(prompt))
		for range outputs {
			input = append(input, output())
		}
		b := body(t, "k", functionTools(), input...)
		first := post(t, mockmodel.New(mockmodel.Options{Now: fixedNow}), b)
		second := post(t, mockmodel.New(mockmodel.Options{Now: fixedNow}), b)
		if first.Code != second.Code || first.Body.String() != second.Body.String() {
			t.Errorf("two answers to one request differ:\n%s\n%s", first.Body, second.Body)
		}
	})
}

func FuzzDecodeBody(f *testing.F) {
	f.Add([]byte(`{"model":"m","stream":true,"input":[{"role":"user","content":"x"}]}`))
	f.Add([]byte(`{"stream":true,"input":[{"role":"user","content":[{"text":"x"}]},{"type":"custom_tool_call_output"}],"tools":[{}]}`))
	f.Add([]byte(`{"stream":true,"input":"mock: say x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("mock:")) {
			t.Skip("scripts are fuzzed apart: they may wait")
		}
		if w := post(t, mockmodel.New(mockmodel.Options{}), string(b)); w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
			t.Errorf("status %d", w.Code)
		}
	})
}

// firstWrite notes when the first byte of a body was written.
type firstWrite struct {
	*httptest.ResponseRecorder
	at time.Time
}

func (w *firstWrite) Write(b []byte) (int, error) {
	if w.at.IsZero() {
		w.at = time.Now()
	}
	return w.ResponseRecorder.Write(b)
}

// BenchmarkResponse plays a hello with a body of the size Codex sends, and
// reports the time to its first byte.
func BenchmarkResponse(b *testing.B) {
	s := mockmodel.New(mockmodel.Options{})
	big := `{"model":"m","stream":true,"input":[{"role":"developer","content":"` + strings.Repeat("x", 40_000) + `"},{"role":"user","content":"hi"}]}`
	var first time.Duration
	for b.Loop() {
		req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, mockmodel.Path, strings.NewReader(big))
		w := &firstWrite{ResponseRecorder: httptest.NewRecorder()}
		start := time.Now()
		s.ServeHTTP(w, req)
		first += w.at.Sub(start)
	}
	b.ReportMetric(float64(first.Nanoseconds())/float64(b.N), "ns/first-byte")
}
