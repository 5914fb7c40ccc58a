package edge_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge"
)

const page = "https://app.example.com"

func TestPreflight(t *testing.T) {
	t.Parallel()
	listed := start(t, func(c *edge.Config) { c.Origins = []string{page} })
	unlisted := start(t)
	for _, tc := range []struct {
		name            string
		g               *gateway
		path            string
		origin          string
		method, headers string
		status          int
		allow           string
	}{
		{"a call", listed, "/jsonrpc", page, "POST", "content-type,idempotency-key,x-api-key", 204, page},
		{"a call with a bearer", listed, "/jsonrpc", page, "POST", "authorization,content-type", 204, page},
		{"a stream", listed, "/v1/jobs/job_x/events", page, "GET", "authorization,last-event-id", 204, page},
		{"a page that is not listed", listed, "/jsonrpc", "https://evil.example", "POST", "content-type", 403, ""},
		{"another scheme", listed, "/jsonrpc", "http://app.example.com", "POST", "content-type", 403, ""},
		{"a file", listed, "/jsonrpc", "null", "POST", "content-type", 403, ""},
		{"a method the route has not", listed, "/jsonrpc", page, "DELETE", "content-type", 403, ""},
		{"a header nobody needs", listed, "/jsonrpc", page, "POST", "x-evil", 403, ""},
		{"a public route", listed, "/health", "https://any.example", "GET", "x-request-id", 204, "*"},
		{"a public route with a key", listed, "/openrpc.json", page, "GET", "authorization", 403, ""},
		{"a WebSocket is no fetch", listed, "/ws", page, "GET", "", 405, ""},
		{"no list", unlisted, "/jsonrpc", page, "POST", "content-type", 405, ""},
		{"no list, public", unlisted, "/health", page, "GET", "", 204, "*"},
		{"no such route", listed, "/nothing", page, "GET", "", 404, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ask := map[string]string{"X-API-Key": "", "Origin": tc.origin, "Access-Control-Request-Method": tc.method}
			if tc.headers != "" {
				ask["Access-Control-Request-Headers"] = tc.headers
			}
			r := tc.g.request(http.MethodOptions, tc.path, ask, "")
			if got := r.header.Get("Access-Control-Allow-Origin"); r.status != tc.status || got != tc.allow {
				t.Errorf("%d, allowed %q, want %d and %q", r.status, got, tc.status, tc.allow)
			}
			if tc.status >= http.StatusBadRequest {
				refused(t, r, false)
			}
			if r.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("cookies are allowed")
			}
			if tc.status == http.StatusNoContent && (r.header.Get("Access-Control-Allow-Methods") != tc.method || r.header.Get("Access-Control-Allow-Headers") != tc.headers) {
				t.Errorf("allowed %q and %q", r.header.Get("Access-Control-Allow-Methods"), r.header.Get("Access-Control-Allow-Headers"))
			}
		})
	}
}

func TestAnswersToPages(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.Origins = []string{page} })
	j := g.Submit(t, job.Submission{})
	for _, tc := range []struct {
		name, method, path, body, key, origin string
		status                                int
		allow                                 string
	}{
		{"a call", "POST", "/jsonrpc", ping, adminKey, page, 200, page},
		{"a refusal can be read too", "POST", "/jsonrpc", ping, "wrong", page, 401, page},
		{"a stream", "GET", "/v1/jobs/" + j.ID + "/events", "", adminKey, page, 200, page},
		{"another page", "POST", "/jsonrpc", ping, adminKey, "https://evil.example", 200, ""},
		{"no page", "POST", "/jsonrpc", ping, adminKey, "", 200, ""},
		{"what every page may read", "GET", "/health", "", "", "https://evil.example", 200, "*"},
		{"not ready for everybody", "GET", "/ready", "", "", "https://evil.example", 200, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := g.request(tc.method, tc.path, map[string]string{"X-API-Key": tc.key, "Origin": tc.origin}, tc.body)
			if got := r.header.Get("Access-Control-Allow-Origin"); r.status != tc.status || got != tc.allow {
				t.Errorf("%d, allowed %q, want %d and %q", r.status, got, tc.status, tc.allow)
			}
			vary := strings.Join(r.header.Values("Vary"), ", ")
			if !strings.Contains(vary, "Origin") || strings.HasSuffix(tc.path, "/events") && !strings.Contains(vary, "Accept") {
				t.Errorf("Vary: %s", vary)
			}
			exposed := strings.Split(r.header.Get("Access-Control-Expose-Headers"), ", ")
			if tc.allow != "" && (!slices.Contains(exposed, "Retry-After") || !slices.Contains(exposed, "Ratelimit")) {
				t.Errorf("exposed: %v", exposed)
			}
		})
	}
}
