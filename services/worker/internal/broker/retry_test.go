package broker_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/services/worker/internal/broker"
)

const quotaBody = `{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}`

// TestRetries: which answers are repeated, after what wait, and what Codex gets.
// The jitter is fixed to a half.
func TestRetries(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ms := func(n ...int) []time.Duration {
		out := make([]time.Duration, 0, len(n))
		for _, v := range n {
			out = append(out, time.Duration(v)*time.Millisecond)
		}
		return out
	}
	tests := []struct {
		name     string
		up       *script
		status   int
		attempts int
		waits    []time.Duration
	}{
		{"success", steps(streamOK), 200, 1, nil},
		{"429 twice", steps(status(429, ""), status(429, ""), streamOK), 200, 3, ms(250, 500)},
		{"each retryable status", steps(status(500, ""), status(502, ""), status(503, ""), status(504, ""), status(529, ""), streamOK), 200, 6, ms(250, 500, 1000, 2000, 4000)},
		{"never ends", steps(status(500, "")), 500, 6, ms(250, 500, 1000, 2000, 4000)},
		{"retry-after seconds", steps(status(429, "", "Retry-After", "7"), streamOK), 200, 2, ms(7250)},
		{"retry-after date", steps(status(503, "", "Retry-After", now.Add(9*time.Second).Format(http.TimeFormat)), streamOK), 200, 2, ms(9250)},
		{"retry-after-ms", steps(status(429, "", "Retry-After-Ms", "1500", "Retry-After", "2"), streamOK), 200, 2, ms(1750)},
		{"retry-after past", steps(status(503, "", "Retry-After", now.Add(-time.Hour).Format(http.TimeFormat)), streamOK), 200, 2, ms(250)},
		{"retry-after nonsense", steps(status(503, "", "Retry-After", "soon"), streamOK), 200, 2, ms(250)},
		{"retry-after beyond the budget", steps(status(429, "", "Retry-After", "3600"), streamOK), 429, 1, nil},
		{"retry-after sums beyond the budget", steps(status(429, "", "Retry-After", "70"), status(429, "", "Retry-After", "70"), streamOK), 429, 2, ms(70250)},
		{"quota", steps(status(429, quotaBody), streamOK), 429, 1, nil},
		{"usage limit", steps(status(429, `{"error":{"type":"usage_limit_reached","code":null}}`), streamOK), 429, 1, nil},
		{"429 with a broken body", steps(status(429, `{"error":`), streamOK), 200, 2, ms(250)},
		{"400", steps(status(400, "{}"), streamOK), 400, 1, nil},
		{"401", steps(status(401, "{}"), streamOK), 401, 1, nil},
		{"redirect", steps(status(307, "", "Location", "/v1/responses"), streamOK), 307, 1, nil},
		{"connection dropped before the answer", steps(abort, streamOK), 200, 2, ms(250)},
		{"headers but no byte", steps(headersOnly, streamOK), 200, 2, ms(250)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, tt.up, func(o *broker.Options) { o.Now = func() time.Time { return now } })
			got := b.post(b.session, "{}")
			if got.status != tt.status || got.err != nil || tt.up.count() != tt.attempts {
				t.Errorf("status %d (%v) after %d attempts; want %d after %d", got.status, got.err, tt.up.count(), tt.status, tt.attempts)
			}
			if diff := cmp.Diff(tt.waits, b.slept()); diff != "" {
				t.Errorf("waits (-want +got):\n%s", diff)
			}
			for _, h := range []string{"Retry-After", "Retry-After-Ms", "Location"} {
				if v := got.header.Get(h); v != "" {
					t.Errorf("%s: %s reached Codex, which would act on it", h, v)
				}
			}
			if u := b.session.Usage(); u.Requests != 1 || u.Attempts != int64(tt.attempts) {
				t.Errorf("usage = %+v", u)
			}
		})
	}
}

func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func headersOnly(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// TestBudgetIsForARunOfFailures: Codex asks again after a failure, and must not
// multiply the attempts; a success makes room for the next trouble.
func TestBudgetIsForARunOfFailures(t *testing.T) {
	t.Parallel()
	bad := status(503, "last words")
	up := steps(bad, bad, bad, bad, streamOK, bad, streamOK)
	b := setup(t, up, func(o *broker.Options) { o.Retry.MaxAttempts = 2 })
	for i, want := range []struct{ status, attempts int }{
		{503, 2}, // spent
		{503, 3}, // one attempt each from now on
		{503, 4},
		{200, 5}, // refilled
		{200, 7},
	} {
		got := b.post(b.session, "{}")
		if got.status != want.status || up.count() != want.attempts {
			t.Errorf("request %d: status %d after %d attempts, want %+v", i, got.status, up.count(), want)
		}
		if got.status == 503 && got.body != "last words" {
			t.Errorf("request %d: body %q is not the model's", i, got.body)
		}
	}
}

// TestBudgetOfTimeIsSpentAtOnce: a wait that does not fit ends the run.
func TestBudgetOfTimeIsSpentAtOnce(t *testing.T) {
	t.Parallel()
	up := steps(status(429, "", "Retry-After", "3600"), status(500, ""), streamOK)
	b := setup(t, up, nil)
	for i, want := range []int{429, 500, 200} {
		if got := b.post(b.session, "{}"); got.status != want || up.count() != i+1 {
			t.Errorf("request %d: status %d after %d attempts, want %d", i, got.status, up.count(), want)
		}
	}
}

func TestErrorBodiesAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, steps(status(400, strings.Repeat("x", 1<<20))), nil)
	if got := b.post(b.session, "{}"); got.status != 400 || len(got.body) != 64<<10 {
		t.Errorf("status %d, %d bytes", got.status, len(got.body))
	}
}

// TestUnreachableModel uses a port that no system gives out: a closed one may be
// taken by another test.
func TestUnreachableModel(t *testing.T) {
	t.Parallel()
	b := setup(t, steps(streamOK), func(o *broker.Options) { o.BaseURL = "http://127.0.0.1:1/v1" })
	got := b.post(b.session, "{}")
	if got.status != http.StatusBadGateway || !strings.Contains(got.body, `"model_unreachable"`) || len(b.slept()) != 5 {
		t.Errorf("status %d, body %s, %d waits", got.status, got.body, len(b.slept()))
	}
}

func TestModelThatNeverAnswers(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	up := steps(hang)
	b := setup(t, up, func(o *broker.Options) { o.HeaderTimeout, o.Retry.MaxAttempts = 20*time.Millisecond, 2 })
	got := b.post(b.session, "{}")
	if got.status != http.StatusGatewayTimeout || !strings.Contains(got.body, `"model_timeout"`) || b.session.Usage().Attempts != 2 {
		t.Errorf("status %d, body %s, usage %+v", got.status, got.body, b.session.Usage())
	}
}

// TestNothingIsRepeatedAfterAByte: a stream that breaks is cut, not restarted:
// the client would see the first half twice.
func TestNothingIsRepeatedAfterAByte(t *testing.T) {
	t.Parallel()
	half := func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("event: response.created\n"))
		_ = http.NewResponseController(w).Flush()
		if r.Header.Get("X-Client-Request-Id") == "silent" {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}
	for _, how := range []string{"dropped", "silent"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			up := steps(half, streamOK)
			b := setup(t, up, func(o *broker.Options) { o.IdleTimeout = 4 * time.Second })
			req := b.request(t.Context(), b.session, strings.NewReader("{}"))
			req.Header.Set("X-Client-Request-Id", how)
			got := b.do(req)
			if got.status != 200 || got.err == nil || got.body != "event: response.created\n" || up.count() != 1 {
				t.Errorf("got %+v after %d attempts; want half a body and an error", got, up.count())
			}
		})
	}
}

func TestModelWithABadCertificateIsNotRetried(t *testing.T) {
	t.Parallel()
	b := setup(t, steps(streamOK), func(o *broker.Options) { o.BaseURL = newTLS(t) })
	if got := b.post(b.session, "{}"); got.status != http.StatusBadGateway || len(b.slept()) != 0 {
		t.Errorf("status %d after waits %v", got.status, b.slept())
	}
}
