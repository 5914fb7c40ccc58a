package edge_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"codexgateway.dev/pkg/job"
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
