package edge_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/edge/internal/edgetest"
)

// report adds percentiles of durations to a benchmark.
func report(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	at := func(p float64) float64 { return float64(took[int(p*float64(len(took)-1))].Microseconds()) / 1000 }
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
}

// BenchmarkSubmit is conversation.prompt over HTTP, one client.
func BenchmarkSubmit(b *testing.B) {
	g := start(b)
	body := `{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":{"prompt":"hello"}}`
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if r := g.request(http.MethodPost, "/jsonrpc", nil, body); r.status != http.StatusOK {
			b.Fatal(r.status)
		}
		took = append(took, time.Since(began))
	}
	report(b, took)
}

// BenchmarkEventToSocket is the time from the call that appends an event to
// its message at a WebSocket client: the commit to the disk is in it.
func BenchmarkEventToSocket(b *testing.B) {
	g := start(b)
	j := g.Submit(b, job.Submission{})
	h := g.Claim(b, j.ID)
	s := g.dial()
	s.subscribe(j.ID, 2)
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		edgetest.Say(b, h, "item/started", `{"item":{"id":"i1"}}`)
		s.event()
		took = append(took, time.Since(began))
	}
	report(b, took)
}

// pinger returns a call of system.ping with a tenant's key and a limit that is
// not reached, through every layer of the edge but the connection.
func pinger(tb testing.TB) func() {
	tb.Helper()
	g := start(tb, func(c *edge.Config) { c.RateLimit = 1_000_000_000 })
	key := call[apiv1.NewKey](g, apiv1.MethodKeyCreate, apiv1.KeyCreateParams{Tenant: "acme"}).Secret
	w := &discard{header: http.Header{}}
	return func() {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://gw/jsonrpc", strings.NewReader(ping))
		if err != nil {
			tb.Fatal(err)
		}
		r.Header.Set("X-Api-Key", key)
		r.Header.Set("Content-Type", "application/json")
		clear(w.header)
		g.svc.Handler().ServeHTTP(w, r)
		if w.status != http.StatusOK {
			tb.Fatalf("status %d", w.status)
		}
	}
}

// discard is a ResponseWriter that keeps nothing.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// BenchmarkPing is the edge's own work for one authenticated and counted call.
func BenchmarkPing(b *testing.B) {
	call := pinger(b)
	b.ReportAllocs()
	for b.Loop() {
		call()
	}
}

// pingAllocs is how much one call may allocate: 89 when this was measured, a
// dozen of them the client's, and some more under the race detector, which makes
// pools forget.
const pingAllocs = 110

// TestAPingAllocatesLittle guards what BenchmarkPing reports.
func TestAPingAllocatesLittle(t *testing.T) { //nolint:paralleltest // others' allocations would count
	if n := testing.AllocsPerRun(200, pinger(t)); n > pingAllocs {
		t.Errorf("%.0f allocations, at most %d are wanted", n, pingAllocs)
	}
}
