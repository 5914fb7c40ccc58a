package edge_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge/internal/edgetest"
)

func TestCompression(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	h := g.Claim(t, j.ID)
	edgetest.Say(t, h, "item/completed", `{"text":"`+strings.Repeat("a word or two ", 20_000)+`"}`)
	edgetest.Complete(t, h, "done")
	events := "/v1/jobs/" + j.ID + "/events"
	page := `{"jsonrpc":"2.0","id":1,"method":"job.events","params":{"job_id":"` + j.ID + `"}}`
	for _, tc := range []struct {
		name, method, path, body string
		accept                   string // Accept
		encoding                 string // Accept-Encoding
		compressed               bool
		vary                     bool
	}{
		{"long call", "POST", "/jsonrpc", page, "", "gzip", true, true},
		{"long poll", "GET", events + "?wait=30", "", "", "gzip, br", true, true},
		{"document", "GET", "/openrpc.json", "", "", "deflate, gzip;q=0.5", true, true},
		{"short call", "POST", "/jsonrpc", ping, "", "gzip", false, true},
		{"not accepted", "GET", "/openrpc.json", "", "", "identity", false, true},
		{"refused", "GET", "/openrpc.json", "", "", "gzip;q=0", false, true},
		{"SSE", "GET", events, "", "text/event-stream", "gzip", false, false},
		{"JSON lines", "GET", events, "", "application/x-ndjson", "gzip", false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			header := map[string]string{"Accept-Encoding": tc.encoding}
			if tc.accept != "" {
				header["Accept"] = tc.accept
			}
			plainHeader := map[string]string{"Accept-Encoding": "identity", "Accept": header["Accept"]}
			r := g.request(tc.method, tc.path, header, tc.body)
			if got := r.header.Get("Content-Encoding") == "gzip"; r.status != http.StatusOK || got != tc.compressed {
				t.Fatalf("status %d, Content-Encoding %q, want compressed %t", r.status, r.header.Get("Content-Encoding"), tc.compressed)
			}
			vary := strings.Join(r.header.Values("Vary"), ", ")
			if got := strings.Contains(vary, "Accept-Encoding"); got != tc.vary {
				t.Errorf("Vary: %s", vary)
			}
			if !tc.compressed {
				return
			}
			z, err := gzip.NewReader(bytes.NewReader(r.body))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			if plain := g.request(tc.method, tc.path, plainHeader, tc.body); !bytes.Equal(body, plain.body) {
				t.Errorf("%d bytes, %d without compression", len(body), len(plain.body))
			}
			if len(r.body) > len(body)/2 {
				t.Errorf("%d of %d bytes", len(r.body), len(body))
			}
		})
	}
	// A large error answer keeps its status and its headers.
	r := g.request(http.MethodPost, "/jsonrpc", map[string]string{"Accept-Encoding": "gzip"}, `[`+strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"x"},`, 30)+ping+`]`)
	if r.status != http.StatusOK || r.header.Get("Content-Encoding") != "gzip" || !slices.Equal(r.header.Values("Content-Type"), []string{"application/json"}) {
		t.Errorf("%d %v", r.status, r.header)
	}
}
