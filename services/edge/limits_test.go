package edge_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/ratelimit"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/edge/internal/edgetest"
)

const pingCall = `{"jsonrpc":"2.0","id":1,"method":"system.ping"}`

// counted counts what is asked of the store about rate limits.
type counted struct {
	docstore.Driver

	ops atomic.Int64
}

func (c *counted) Get(ctx context.Context, k docstore.Key) (docstore.Doc, error) {
	if k.Collection == ratelimit.Collection {
		c.ops.Add(1)
	}
	return c.Driver.Get(ctx, k)
}

func (c *counted) Commit(ctx context.Context, w []docstore.Write) ([]docstore.Version, error) {
	if w[0].Key.Collection == ratelimit.Collection {
		c.ops.Add(1)
	}
	return c.Driver.Commit(ctx, w)
}

// TestFourEdgesKeepOneLimit is four instances on one store whose clocks are a
// minute apart, under more calls than the limit allows at once.
func TestFourEdgesKeepOneLimit(t *testing.T) {
	t.Parallel()
	const limit, clients, calls = 100, 8, 50
	env := edgetest.Open(t)
	store := &counted{Driver: env.Platform.Docs}
	docs, err := docstore.New(store, schema.All(), docstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var admitted, refused atomic.Int64
	var work sync.WaitGroup
	for _, skew := range []time.Duration{-ratelimit.MaxSkew, 0, ratelimit.MaxSkew, 10 * time.Second} {
		svc, err := edge.New(edge.Config{AdminKey: secret.NewValue(adminKey), RateLimitAdmin: limit}, edge.Deps{
			Jobs: env.Jobs, Docs: docs, Bus: env.Platform.Bus, Secrets: env.Platform.Secrets, Blobs: env.Platform.Blobs,
			Health: chassis.NewHealth(env.Log), Logger: env.Log, Version: "1",
			Now: func() time.Time { return time.Now().Add(skew) },
		})
		if err != nil {
			t.Fatal(err)
		}
		for range clients {
			work.Go(func() {
				for range calls {
					r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/jsonrpc", strings.NewReader(pingCall))
					r.Header.Set("X-API-Key", adminKey)
					r.Header.Set("Content-Type", "application/json")
					w := httptest.NewRecorder()
					svc.Handler().ServeHTTP(w, r)
					switch w.Code {
					case http.StatusOK:
						admitted.Add(1)
					case http.StatusTooManyRequests:
						refused.Add(1)
					default:
						t.Errorf("%d %s", w.Code, w.Body)
					}
				}
			})
		}
	}
	began := time.Now()
	work.Wait()
	total, ops := admitted.Load()+refused.Load(), store.ops.Load()
	t.Logf("%d of %d calls admitted, %d operations, %s", admitted.Load(), total, ops, time.Since(began))
	if most := limit * (1 + int64(time.Since(began)/ratelimit.Window)); admitted.Load() > most || admitted.Load() < limit*8/10 {
		t.Errorf("%d admitted, the limit is %d", admitted.Load(), limit)
	}
	if ops > total/10 {
		t.Errorf("%d operations for %d calls", ops, total)
	}
}

func limited(n int) func(*edge.Config) { return func(c *edge.Config) { c.RateLimitAdmin = n } }

func left(t *testing.T, h http.Header) (r int) {
	t.Helper()
	v, ok := strings.CutPrefix(h.Get("RateLimit"), `"requests";r=`)
	v, _, _ = strings.Cut(v, ";")
	r, err := strconv.Atoi(v)
	if !ok || err != nil {
		t.Errorf("RateLimit %q", h.Get("RateLimit"))
	}
	return r
}

// Whatever a key asks for counts, and every answer says what is left.
func TestEveryRequestOfAKeyCounts(t *testing.T) {
	t.Parallel()
	g := start(t, limited(100))
	want := 100
	for _, tc := range []struct {
		name, method, path, body string
		header                   map[string]string
		costs, status            int
	}{
		{"a call", "POST", "/jsonrpc", pingCall, nil, 1, 200},
		{"a notification", "POST", "/jsonrpc", `{"jsonrpc":"2.0","method":"system.ping"}`, nil, 1, 204},
		{"a batch with members of all kinds", "POST", "/jsonrpc", `[` + pingCall + `,1,{"jsonrpc":"2.0","id":2,"method":"nobody.knows"},{"jsonrpc":"2.0","method":"system.ping"}]`, nil, 4, 200},
		{"an empty batch", "POST", "/jsonrpc", `[]`, nil, 1, 200},
		{"no JSON", "POST", "/jsonrpc", `{`, nil, 1, 200},
		{"another media type", "POST", "/jsonrpc", pingCall, map[string]string{"Content-Type": "text/plain"}, 1, 415},
		{"the events of no job", "GET", "/v1/jobs/job_x/events", "", nil, 1, 404},
		{"no upgrade", "GET", "/ws", "", nil, 1, 426},
		{"health", "GET", "/health", "", nil, 0, 200},
		{"readiness", "GET", "/ready", "", nil, 0, 200},
		{"a call again", "POST", "/jsonrpc", pingCall, nil, 1, 200},
	} {
		want -= tc.costs
		r := g.request(tc.method, tc.path, tc.header, tc.body)
		if r.status != tc.status {
			t.Errorf("%s: %d %s", tc.name, r.status, r.body)
		}
		if tc.costs == 0 {
			if r.header.Get("RateLimit") != "" {
				t.Errorf("%s: RateLimit %q", tc.name, r.header.Get("RateLimit"))
			}
			continue
		}
		if n := left(t, r.header); n != want {
			t.Errorf("%s: %d left, want %d", tc.name, n, want)
		}
		if p := r.header.Get("RateLimit-Policy"); p != `"requests";q=100;w=60` {
			t.Errorf("%s: RateLimit-Policy %s", tc.name, p)
		}
	}
}

// wait is Retry-After, which is never before the t of RateLimit.
func (r reply) wait(t *testing.T) int {
	t.Helper()
	after, err := strconv.Atoi(r.header.Get("Retry-After"))
	if err != nil || after < 1 || after > 62 {
		t.Errorf("Retry-After %q", r.header.Get("Retry-After"))
	}
	if _, v, ok := strings.Cut(r.header.Get("RateLimit"), ";t="); ok {
		if at, err := strconv.Atoi(v); err != nil || at > after {
			t.Errorf("Retry-After %d, RateLimit %q", after, r.header.Get("RateLimit"))
		}
	}
	return after
}

func TestOverTheLimit(t *testing.T) {
	t.Parallel()
	g := start(t, limited(3))
	ws := g.dial() // the first
	ws.send(pingCall)
	if a := ws.receive(); a.Error != nil {
		t.Fatal(a.Error)
	}
	// One member is admitted, the others are not; the batch is an answer all the same.
	r := g.request(http.MethodPost, "/jsonrpc", nil, `[`+pingCall+`,`+pingCall+`]`)
	answers := decode[[]answer](t, r.body)
	if r.status != http.StatusOK || len(answers) != 2 || answers[0].Error != nil || answers[1].Error == nil || answers[1].Error.Code != -32006 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if n := left(t, r.header); n != 0 {
		t.Errorf("%d left", n)
	}
	r = g.request(http.MethodPost, "/jsonrpc", nil, pingCall)
	one := decode[answer](t, r.body)
	if r.status != http.StatusTooManyRequests || one.Error == nil || one.Error.Code != -32006 || string(one.ID) != "1" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if ms, _ := one.Error.Data["retry_after_ms"].(float64); ms < 1 || int(ms) > 1000*r.wait(t) {
		t.Errorf("retry_after_ms %v, Retry-After %s", ms, r.header.Get("Retry-After"))
	}
	r = g.request(http.MethodGet, "/v1/jobs/job_x/events", nil, "")
	p := decode[map[string]any](t, r.body)
	if r.status != http.StatusTooManyRequests || p["code"] != "rate_limited" || p["type"] != "https://iana.org/assignments/http-problem-types#quota-exceeded" || r.wait(t) < 1 {
		t.Errorf("%d %s", r.status, r.body)
	}
	ws.send(pingCall)
	if a := ws.receive(); a.Error == nil || a.Error.Code != -32006 || a.Error.Data["retry_after_ms"] == nil {
		t.Errorf("%+v", a)
	}
	if r := g.request(http.MethodGet, "/health", nil, ""); r.status != http.StatusOK {
		t.Errorf("health: %d", r.status)
	}
}

// Guesses are refused unseen after a few; a key that was good goes on.
func TestWrongCredentialsAreRefusedUnseen(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.AuthFailures = 5 })
	wrong := map[string]string{"X-API-Key": "cgw_test_wrong"}
	if r := g.request(http.MethodPost, "/jsonrpc", nil, pingCall); r.status != http.StatusOK {
		t.Fatal(r.status)
	}
	for range 5 {
		if r := g.request(http.MethodPost, "/jsonrpc", wrong, pingCall); r.status != http.StatusUnauthorized || r.header.Get("RateLimit") != "" {
			t.Errorf("%d %v", r.status, r.header)
		}
	}
	r := g.request(http.MethodPost, "/jsonrpc", wrong, pingCall)
	if a := decode[answer](t, r.body); r.status != http.StatusTooManyRequests || a.Error == nil || a.Error.Code != -32006 || r.wait(t) != 12 {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	if r := g.request(http.MethodPost, "/jsonrpc", map[string]string{"X-API-Key": ""}, pingCall); r.status != http.StatusUnauthorized {
		t.Errorf("without a credential: %d", r.status)
	}
	if r := g.request(http.MethodPost, "/jsonrpc", nil, pingCall); r.status != http.StatusOK {
		t.Errorf("the good key: %d", r.status)
	}
}
