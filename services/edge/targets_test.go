package edge_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"codexgateway.dev/pkg/job"
)

// raw sends a request line as it is, which no client library would.
func (g *gateway) raw(method, target, key string) reply {
	g.t.Helper()
	return g.write(method, target, "X-API-Key: "+key+"\r\nConnection: close\r\n\r\n")
}

// write sends a request line and what follows its Host as they are.
func (g *gateway) write(method, target, rest string) reply {
	g.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(g.t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: gw.example\r\n%s", method, target, rest); err != nil {
		g.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	if u, err := url.ParseRequestURI(target); err == nil && resp.Header.Get("X-Request-Id") != "" { // else net/http refused it
		x := exchange{contract: promises(g.t), method: method, path: u.Path, status: resp.StatusCode, header: resp.Header, empty: resp.ContentLength == 0}
		x.report(g.t, errors.Join(x.head(), x.body(body, true)))
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: body}
}

// refused checks that an answer is a problem and sends nobody elsewhere.
func refused(t *testing.T, r reply, head bool) {
	t.Helper()
	if ct := r.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("%d with Content-Type %q: %s", r.status, ct, r.body)
	}
	if r.header.Get("Location") != "" || r.header.Get("X-Request-Id") == "" {
		t.Errorf("Location %q, X-Request-Id %q", r.header.Get("Location"), r.header.Get("X-Request-Id"))
	}
	if head {
		return // without a body
	}
	if p := decode[map[string]any](t, r.body); p["status"] != float64(r.status) {
		t.Errorf("problem %v with status %d", p, r.status)
	}
}

// TestMethods is every route with every method: HEAD only where it is said, and
// an Allow that says it.
func TestMethods(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	const read, get, post = "GET, HEAD", "GET", "POST"
	for path, allow := range map[string]string{
		"/health": read, "/ready": read, "/openrpc.json": read, "/openapi.json": read, "/asyncapi.json": read, "/blobs": read,
		"/jsonrpc": post, "/ws": get, "/v1/jobs/" + j.ID + "/events": get, "/v1/jobs/" + j.ID + "/artifacts/diff.patch": get,
		"/": "", "/nowhere": "", "/v1/jobs/" + j.ID: "", "/v1/jobs/" + j.ID + "/artifacts": "",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"} {
			t.Run(method+" "+path, func(t *testing.T) {
				t.Parallel()
				r := g.raw(method, path, "")
				switch {
				case slices.Contains(strings.Split(allow, ", "), method):
					if r.status == http.StatusNotFound || r.status == http.StatusMethodNotAllowed || r.header.Get("Allow") != "" {
						t.Errorf("status %d, Allow %q", r.status, r.header.Get("Allow"))
					}
				case allow == "":
					if r.status != http.StatusNotFound || r.header.Get("Allow") != "" {
						t.Errorf("status %d, Allow %q, want 404", r.status, r.header.Get("Allow"))
					}
					refused(t, r, method == http.MethodHead)
				default:
					if got := strings.Join(r.header.Values("Allow"), "|"); r.status != http.StatusMethodNotAllowed || got != allow {
						t.Errorf("status %d, Allow %q, want 405 and %q", r.status, got, allow)
					}
					refused(t, r, method == http.MethodHead)
				}
			})
		}
	}
}

// TestTargets is the request targets that a router may want to tidy up: they
// are matched as they are, and never answered with a redirect. What a route of
// jobs answers shows that it matched: 401 without a key, no job with one.
func TestTargets(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	for _, tc := range []struct {
		name, method, target string
		anonymous, keyed     int
		allow                string
	}{
		// Slashes.
		{"trailing slash", "GET", "/health/", 404, 404, ""},
		{"trailing slash of a call", "POST", "/jsonrpc/", 404, 404, ""},
		{"trailing slash of a job", "GET", "/v1/jobs/" + j.ID + "/events/", 404, 404, ""},
		{"leading slashes", "POST", "//jsonrpc", 404, 404, ""},
		{"three leading slashes", "GET", "///health", 404, 404, ""},
		{"slashes before a host", "GET", "//evil.example/health", 404, 404, ""},
		{"slashes before a host alone", "GET", "//evil.example/", 404, 404, ""},
		{"backslash", "GET", "/\\evil.example", 404, 404, ""},
		{"slashes within", "GET", "/v1//jobs/" + j.ID + "/events", 404, 404, ""},
		{"slashes after the id", "GET", "/v1/jobs/" + j.ID + "//events", 404, 404, ""},
		{"empty id", "GET", "/v1/jobs//events", 404, 404, ""},
		{"empty name", "GET", "/v1/jobs/" + j.ID + "/artifacts/", 404, 404, ""},
		{"empty segment of a blob", "GET", "/blobs//x", 404, 404, ""},
		{"encoded slash of a blob", "GET", "/blobs/%2F", 404, 404, ""},
		{"slashes at the end", "POST", "/jsonrpc//", 404, 404, ""},
		// Dot segments are names.
		{"dot", "POST", "/./jsonrpc", 404, 404, ""},
		{"dots", "POST", "/x/../jsonrpc", 404, 404, ""},
		{"dots at the end", "POST", "/jsonrpc/..", 404, 404, ""},
		{"dots that would climb to a route", "GET", "/openrpc.json/../health", 404, 404, ""},
		{"dots above the root", "GET", "/../health", 404, 404, ""},
		{"encoded dots above the root", "GET", "/%2e%2e/health", 404, 404, ""},
		{"dots with an encoded slash", "GET", "/..%2Fhealth", 404, 404, ""},
		{"dots as id", "GET", "/v1/jobs/../events", 401, 404, ""},
		{"dot as id", "GET", "/v1/jobs/./events", 401, 404, ""},
		{"encoded dots as id", "GET", "/v1/jobs/%2E%2e/events", 401, 404, ""},
		{"dots as id of a wrong method", "POST", "/v1/jobs/../events", 405, 405, "GET"},
		{"dots as name", "GET", "/v1/jobs/" + j.ID + "/artifacts/..", 401, 404, ""},
		{"dots of a blob", "GET", "/blobs/../x", 404, 404, ""},
		{"dots after the id", "GET", "/v1/jobs/" + j.ID + "/x/../events", 404, 404, ""},
		// Encodings.
		{"encoded slash in the id", "GET", "/v1/jobs/a%2Fb/events", 404, 404, ""},
		{"encoded slash is the id", "GET", "/v1/jobs/%2F/events", 404, 404, ""},
		{"encoded slash after the id", "GET", "/v1/jobs/" + j.ID + "%2Fevents", 401, 200, ""},
		{"encoded slash before the id", "GET", "/v1%2Fjobs/" + j.ID + "/events", 401, 200, ""},
		{"encoded slash in the name", "GET", "/v1/jobs/" + j.ID + "/artifacts/a%2Fb", 404, 404, ""},
		{"encoded slash at the end", "POST", "/jsonrpc%2F", 404, 404, ""},
		{"slash encoded twice", "GET", "/v1/jobs/a%252Fb/events", 401, 404, ""},
		{"encoded letter of a route", "GET", "/v1/jobs/" + j.ID + "/%65vents", 401, 200, ""},
		{"encoded letter of an id", "GET", "/v1/jobs/%6A" + j.ID[1:] + "/events", 401, 200, ""},
		{"encoded question mark", "GET", "/v1/jobs/" + j.ID + "/events%3Fafter=1", 404, 404, ""},
		{"NUL after the id", "GET", "/v1/jobs/" + j.ID + "%00/events", 401, 404, ""},
		{"per cent as id", "GET", "/v1/jobs/%25/events", 401, 404, ""},
		{"invalid UTF-8 as id", "GET", "/v1/jobs/%FF/events", 401, 404, ""},
		{"the pattern as id", "GET", "/v1/jobs/{id}/events", 401, 404, ""},
		{"other case", "POST", "/JSONRPC", 404, 404, ""},
		// Other forms of a target.
		{"absolute", "GET", "http://evil.example/health", 200, 200, ""},
		{"absolute of a job", "GET", "http://evil.example/v1/jobs/" + j.ID + "/events", 401, 200, ""},
		{"absolute of a wrong method", "GET", "http://evil.example/jsonrpc", 405, 405, "POST"},
		{"absolute without path", "GET", "http://evil.example", 404, 404, ""},
		{"absolute with slashes", "GET", "http://evil.example//jsonrpc", 404, 404, ""},
		{"opaque", "GET", "http:health", 404, 404, ""},
		{"asterisk", "GET", "*", 404, 404, ""},
		{"CONNECT to a host", "CONNECT", "evil.example:443", 404, 404, ""},
		{"CONNECT to a path", "CONNECT", "/jsonrpc", 405, 405, "POST"},
		{"CONNECT to dots", "CONNECT", "/x/../jsonrpc", 404, 404, ""},
		{"CONNECT to slashes", "CONNECT", "//jsonrpc", 404, 404, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for key, want := range map[string]int{"": tc.anonymous, adminKey: tc.keyed} {
				r := g.raw(tc.method, tc.target, key)
				if r.status != want || r.header.Get("Allow") != tc.allow {
					t.Errorf("status %d, Allow %q, want %d and %q: %s", r.status, r.header.Get("Allow"), want, tc.allow, r.body)
				}
				if want >= http.StatusBadRequest {
					refused(t, r, false)
				}
			}
		})
	}
	// The server answers for itself here, not for a route.
	if r := g.raw(http.MethodOptions, "*", ""); r.status != http.StatusOK || len(r.body) != 0 {
		t.Errorf("OPTIONS *: %d %s", r.status, r.body)
	}
}
