package broker_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/worker/internal/broker"
)

// TestPassesTheMockModelThrough: the bytes are those that the model sent, and
// the usage is in the sum when the stream ends.
func TestPassesTheMockModelThrough(t *testing.T) {
	t.Parallel()
	const body = `{"model":"gpt-5.5","stream":true,"prompt_cache_key":"k","input":"mock: usage 100 20 mock: say one two three"}`
	model := mockmodel.New(mockmodel.Options{Token: secret.NewValue(canary), Record: 1})
	b := setup(t, model, nil)
	got := b.post(b.session, body)
	if got.status != http.StatusOK || got.err != nil {
		t.Fatalf("got %+v", got)
	}
	if sent := string(model.Requests()[0].Body); sent != body {
		t.Errorf("the model got %q", sent)
	}
	for _, want := range []string{"one ", "two ", "three", "event: response.completed"} {
		if !strings.Contains(got.body, want) {
			t.Errorf("no %q in %s", want, got.body)
		}
	}
	want := broker.Usage{Requests: 1, Attempts: 1, InputTokens: 100, OutputTokens: 20, TotalTokens: 120}
	if diff := cmp.Diff(want, b.session.Usage()); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
}

// TestHeaders: only what is on the lists passes, in both directions.
func TestHeaders(t *testing.T) {
	t.Parallel()
	sent := make(chan http.Header, 1)
	up := steps(func(w http.ResponseWriter, r *http.Request) {
		sent <- r.Header.Clone()
		for _, h := range []string{"X-Request-Id", "Openai-Processing-Ms", "Openai-Organization", "Set-Cookie", "X-Echo", "Retry-After"} {
			w.Header().Set(h, "v")
		}
		streamOK(w, r)
	})
	b := setup(t, up, nil)
	req := b.request(t.Context(), b.session, strings.NewReader("{}"))
	for _, h := range []string{
		"Accept", "User-Agent", "Originator", "Session-Id", "Thread-Id", "X-Client-Request-Id", "Openai-Beta", // pass
		"Cookie", "X-Api-Key", "Api-Key", "Proxy-Authorization", "Openai-Organization", "X-Codex-Turn-Metadata", "X-Forwarded-For", "Te", "X-Else",
		"X-Codex-Window-Id", // named by Connection
	} {
		req.Header.Set(h, "in")
	}
	req.Header.Set("Connection", "keep-alive, x-codex-window-id")
	got := b.do(req)

	want := http.Header{"Authorization": {"Bearer " + canary}, "Content-Type": {"application/json"}, "Content-Length": {"2"}}
	for _, h := range []string{"Accept", "User-Agent", "Originator", "Session-Id", "Thread-Id", "X-Client-Request-Id", "Openai-Beta"} {
		want.Set(h, "in")
	}
	if diff := cmp.Diff(want, <-sent); diff != "" {
		t.Errorf("upstream headers (-want +got):\n%s", diff)
	}
	got.header.Del("Date")
	wantBack := http.Header{"Content-Type": {"text/event-stream"}, "X-Request-Id": {"v"}, "Openai-Processing-Ms": {"v"}}
	if diff := cmp.Diff(wantBack, got.header); diff != "" {
		t.Errorf("headers to Codex (-want +got):\n%s", diff)
	}
}

func TestOnlyOneRouteAndOnlyWithAToken(t *testing.T) {
	t.Parallel()
	up := steps(streamOK)
	b := setup(t, up, nil)
	unbound := b.open("", broker.Limits{})
	elsewhere := setup(t, steps(streamOK), nil)
	valid := "Bearer " + b.session.Token().Reveal()
	tests := []struct {
		name, method, path, auth string
		want                     int
	}{
		{"good", http.MethodPost, "/responses", valid, 200},
		{"scheme in lower case", http.MethodPost, "/responses", "bearer " + b.session.Token().Reveal(), 200},
		{"models", http.MethodGet, "/models", valid, 404},
		{"path below", http.MethodPost, "/responses/compact", valid, 404},
		{"dot segments", http.MethodPost, "/x/../responses", valid, 404},
		{"GET", http.MethodGet, "/responses", valid, 405},
		{"no token", http.MethodPost, "/responses", "", 401},
		{"no token, other path", http.MethodGet, "/models", "", 401},
		{"bare token", http.MethodPost, "/responses", b.session.Token().Reveal(), 401},
		{"wrong scheme", http.MethodPost, "/responses", "Basic " + b.session.Token().Reveal(), 401},
		{"token cut short", http.MethodPost, "/responses", valid[:len(valid)-1], 401},
		{"token of another worker", http.MethodPost, "/responses", "Bearer " + elsewhere.session.Token().Reveal(), 401},
		{"the model's key", http.MethodPost, "/responses", "Bearer " + canary, 401},
		{"session without a job", http.MethodPost, "/responses", "Bearer " + unbound.Token().Reveal(), 403},
	}
	for _, tt := range tests {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, b.broker.BaseURL()+tt.path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", tt.auth)
		got := b.do(req)
		if got.status != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, got.status, tt.want)
		}
		if tt.want == http.StatusMethodNotAllowed && got.header.Get("Allow") != http.MethodPost {
			t.Errorf("%s: Allow = %q", tt.name, got.header.Get("Allow"))
		}
	}
	if up.count() != 2 {
		t.Errorf("%d requests reached the model, want 2", up.count())
	}
}

func TestBindIsOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, steps(streamOK), nil)
	if err := b.session.Bind("job_2", broker.Limits{}); !errors.Is(err, broker.ErrBound) {
		t.Errorf("second Bind: %v", err)
	}
	s := b.open("", broker.Limits{})
	if err := s.Bind("", broker.Limits{}); err == nil {
		t.Error("an empty job id was bound")
	}
	s.Close()
	s.Close()
	if err := s.Bind("job_2", broker.Limits{}); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Bind after Close: %v", err)
	}
}

// TestKeyIsReadForEachAttempt: a rotated key is used at once, a missing one is
// named, one that cannot be read now is tried again.
func TestKeyIsReadForEachAttempt(t *testing.T) {
	t.Parallel()
	type result struct {
		key string
		err error
	}
	tests := []struct {
		name   string
		keys   []result
		status int
		body   string // part of the answer
		sent   []string
	}{
		{"rotated", []result{{"one", nil}, {"two\n", nil}}, 200, "", []string{"Bearer one", "Bearer two"}},
		{"missing", []result{{"", secret.ErrNotFound}}, 401, `"model_key_missing"`, nil},
		{"empty", []result{{" \n", nil}}, 401, `"model_key_missing"`, nil},
		{"unreadable once", []result{{"", io.ErrUnexpectedEOF}, {"two", nil}, {"three", nil}}, 200, "", []string{"Bearer two", "Bearer three"}},
		{"unreadable", []result{{"", io.ErrUnexpectedEOF}}, 503, `"model_key_unavailable"`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var sent []string
			note := func(next http.HandlerFunc) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					sent = append(sent, r.Header.Get("Authorization"))
					next(w, r)
				}
			}
			n := 0
			b := setup(t, steps(note(status(429, "")), note(streamOK)), func(o *broker.Options) {
				o.Key = func(context.Context) (secret.Value, error) {
					k := tt.keys[min(n, len(tt.keys)-1)]
					n++
					return secret.NewValue(k.key), k.err
				}
			})
			got := b.post(b.session, "{}")
			if got.status != tt.status || !strings.Contains(got.body, tt.body) {
				t.Errorf("got %+v", got)
			}
			if diff := cmp.Diff(tt.sent, sent); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

// TestModelThatRepeatsTheKey: do and setup check that neither the answer nor the
// log holds the key.
func TestModelThatRepeatsTheKey(t *testing.T) {
	t.Parallel()
	echo := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Key", canary)
			status(code, "no: "+r.Header.Get("Authorization")+"; "+canary[:8]+"***")(w, r)
		}
	}
	b := setup(t, steps(echo(400), echo(401), echo(500)), nil)
	if got := b.post(b.session, "{}"); got.status != 400 || !strings.Contains(got.body, "[redacted]") {
		t.Errorf("400: %+v", got)
	}
	if got := b.post(b.session, "{}"); got.status != 401 || strings.Contains(got.body, canary[:8]) || !strings.Contains(got.body, `"invalid_api_key"`) {
		t.Errorf("401: %+v", got)
	}
	if got := b.post(b.session, "{}"); got.status != 500 {
		t.Errorf("500: %+v", got)
	}
	if log := b.log.String(); !strings.Contains(log, `"job_id":"job_1"`) || strings.Contains(log, b.session.Token().Reveal()) {
		t.Errorf("log without job, or with token:\n%s", log)
	}
}

// TestProxyIsUsedWhenGiven: the environment's would not be.
func TestProxyIsUsedWhenGiven(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.URL.String()
		streamOK(w, r)
	}))
	t.Cleanup(proxy.Close)
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, steps(streamOK), func(o *broker.Options) { o.Proxy, o.BaseURL = u, "http://model.invalid/v1/" })
	if got := b.post(b.session, "{}"); got.status != 200 {
		t.Fatalf("got %+v", got)
	}
	if got := <-seen; got != "http://model.invalid/v1/responses" {
		t.Errorf("the proxy was asked for %q", got)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	key := func(context.Context) (secret.Value, error) { return secret.NewValue("k"), nil }
	for name, opt := range map[string]broker.Options{
		"no key":            {BaseURL: "https://x/v1"},
		"no URL":            {Key: key},
		"relative URL":      {Key: key, BaseURL: "/v1"},
		"other scheme":      {Key: key, BaseURL: "ftp://x/v1"},
		"password in URL":   {Key: key, BaseURL: "https://u:hunter2@x/v1"},
		"query":             {Key: key, BaseURL: "https://x/v1?a=b"},
		"bad escape":        {Key: key, BaseURL: "https://x/%zz"},
		"negative body":     {Key: key, BaseURL: "https://x", MaxBody: -1},
		"buffer below body": {Key: key, BaseURL: "https://x", MaxBody: 2, MaxBuffered: 1},
	} {
		b, err := broker.New(opt)
		if err == nil {
			t.Errorf("%s: accepted", name)
			_ = b.Close(t.Context())
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats the password: %v", name, err)
		}
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	up := newHanging("data: x\n")
	b := setup(t, up, nil)
	done := make(chan answer, 1)
	go func() { done <- b.post(b.session, "{}") }()
	<-up.reached
	if err := b.broker.Close(t.Context()); err != nil {
		t.Error(err)
	}
	<-up.gotten
	if got := <-done; got.err == nil {
		t.Errorf("the stream ended well: %+v", got)
	}
	if _, err := b.broker.Open(); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Open after Close: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	b := setup(t, steps(status(429, ""), streamOK, status(400, "")), func(o *broker.Options) { o.Meter = provider.Meter("test") })
	b.post(b.session, "{}")
	b.post(b.session, "{}")
	b.session.Close() // waits for the handlers, which count at their end

	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int64)
	for _, m := range data.ScopeMetrics[0].Metrics {
		sum, ok := m.Data.(metricdata.Sum[int64])
		if !ok {
			continue
		}
		for _, p := range sum.DataPoints {
			for _, kv := range p.Attributes.ToSlice() {
				got[m.Name+" "+kv.Value.AsString()] = p.Value
			}
		}
	}
	want := map[string]int64{
		"codexgw_model_requests 2xx": 1, "codexgw_model_requests 4xx": 1, "codexgw_model_retries status": 1,
		"codexgw_model_tokens input": 10, "codexgw_model_tokens cached_input": 4,
		"codexgw_model_tokens output": 5, "codexgw_model_tokens reasoning": 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
