package edge_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/edge/internal/edgetest"
)

const ping = `{"jsonrpc":"2.0","id":1,"method":"system.ping"}`

// TestRefusals is every way HTTP says no.
func TestRefusals(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	foreign := g.Submit(t, job.Submission{Tenant: "other"})
	events := "/v1/jobs/" + j.ID + "/events"
	const noKey = "X-API-Key"
	for _, tc := range []struct {
		name         string
		method, path string
		header       map[string]string
		body         string
		status       int
		code         string
		rpc          int               // the JSON-RPC code of the body; 0: a problem
		want         map[string]string // headers
	}{
		{"no route", "GET", "/nowhere", nil, "", 404, "not_found", 0, nil},
		{"trailing slash", "POST", "/jsonrpc/", nil, ping, 404, "not_found", 0, nil},
		{"wrong method", "GET", "/jsonrpc", nil, "", 405, "invalid_request", 0, map[string]string{"Allow": "POST"}},
		{"options", "OPTIONS", events, nil, "", 405, "invalid_request", 0, map[string]string{"Allow": "GET", "Access-Control-Allow-Origin": ""}},
		{"rpc without key", "POST", "/jsonrpc", map[string]string{noKey: ""}, ping, 401, "unauthenticated", -32002, map[string]string{"WWW-Authenticate": `Bearer realm="codexgateway"`}},
		{"rpc with wrong key", "POST", "/jsonrpc", map[string]string{noKey: "wrong"}, ping, 401, "unauthenticated", -32002, nil},
		{"key in URL", "POST", "/jsonrpc?api_key=" + adminKey, map[string]string{noKey: ""}, ping, 401, "unauthenticated", -32002, nil},
		{"events without key", "GET", events, map[string]string{noKey: ""}, "", 401, "unauthenticated", 0, map[string]string{"WWW-Authenticate": `Bearer realm="codexgateway"`}},
		{"socket without key", "GET", "/ws", map[string]string{noKey: ""}, "", 401, "unauthenticated", 0, nil},
		{"artifact without key", "GET", "/v1/jobs/" + j.ID + "/artifacts/x", map[string]string{noKey: ""}, "", 401, "unauthenticated", 0, nil},
		{"form", "POST", "/jsonrpc", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, ping, 415, "invalid_request", 0, map[string]string{"Accept": "application/json"}},
		{"no content type", "POST", "/jsonrpc", map[string]string{"Content-Type": ""}, ping, 415, "invalid_request", 0, nil},
		{"latin1", "POST", "/jsonrpc", map[string]string{"Content-Type": "application/json; charset=latin1"}, ping, 415, "invalid_request", 0, nil},
		{"gzip", "POST", "/jsonrpc", map[string]string{"Content-Encoding": "gzip"}, ping, 415, "invalid_request", 0, nil},
		{"body too large", "POST", "/jsonrpc", nil, strings.Repeat(" ", 8<<20+1), 413, "payload_too_large", -32008, nil},
		{"large body where there is none", "GET", events, nil, strings.Repeat(" ", 20<<10), 413, "payload_too_large", 0, nil},
		{"no upgrade", "GET", "/ws", nil, "", 426, "invalid_request", 0, map[string]string{"Upgrade": "websocket"}},
		{"upgrade from another page", "GET", "/ws", map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Origin": "https://evil.example"}, "", 403, "permission_denied", 0, nil},
		{"events of no job", "GET", "/v1/jobs/job_x/events", nil, "", 404, "not_found", 0, nil},
		{"events of another tenant", "GET", "/v1/jobs/" + foreign.ID + "/events", nil, "", 404, "not_found", 0, nil},
		{"negative after", "GET", events + "?after=-1", nil, "", 400, "invalid_params", 0, nil},
		{"after that is no number", "GET", events + "?after=x", nil, "", 400, "invalid_params", 0, nil},
		{"after twice", "GET", events + "?after=1&after=2", nil, "", 400, "invalid_params", 0, nil},
		{"long wait", "GET", events + "?wait=61", nil, "", 400, "invalid_params", 0, nil},
		{"bad Last-Event-ID", "GET", events, map[string]string{"Accept": "text/event-stream", "Last-Event-ID": "x"}, "", 400, "invalid_params", 0, nil},
		{"not acceptable", "GET", events, map[string]string{"Accept": "text/html"}, "", 406, "invalid_request", 0, nil},
		{"artifact of no job", "GET", "/v1/jobs/job_x/artifacts/diff.patch", nil, "", 404, "not_found", 0, nil},
		{"no such artifact", "GET", "/v1/jobs/" + j.ID + "/artifacts/diff.patch", nil, "", 404, "not_found", 0, nil},
		{"unsigned blob", "GET", "/blobs?obj=x", nil, "", 403, "permission_denied", 0, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			resp := g.request(tc.method, tc.path, tc.header, tc.body)
			body := resp.body
			if resp.status != tc.status {
				t.Fatalf("status %d, want %d: %s", resp.status, tc.status, body)
			}
			if tc.rpc != 0 {
				a := decode[answer](t, body)
				if string(a.ID) != "null" || a.Error == nil || a.Error.Code != tc.rpc || a.Error.Data["code"] != tc.code {
					t.Errorf("body %s, want error %d with id null", body, tc.rpc)
				}
			} else {
				p := decode[map[string]any](t, body)
				if ct := resp.header.Get("Content-Type"); ct != "application/problem+json" {
					t.Errorf("Content-Type %q", ct)
				}
				if p["code"] != tc.code || p["status"] != float64(tc.status) {
					t.Errorf("problem %v, want %d %s", p, tc.status, tc.code)
				}
			}
			for k, v := range tc.want {
				if got := resp.header.Get(k); got != v {
					t.Errorf("%s: %q, want %q", k, got, v)
				}
			}
			if resp.header.Get("X-Request-Id") == "" {
				t.Error("no request id")
			}
		})
	}
}

func TestRPCFrames(t *testing.T) {
	t.Parallel()
	g := start(t)
	batch := func(n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(ping+",", n), ",") + "]"
	}
	for _, tc := range []struct {
		name, body string
		status     int
		code       int // of a single error; 0: none
		answers    int // of a batch
	}{
		{"call", ping, 200, 0, 0},
		{"call with id null", `{"jsonrpc":"2.0","id":null,"method":"system.ping"}`, 200, 0, 0},
		{"notification", `{"jsonrpc":"2.0","method":"system.ping"}`, 204, 0, 0},
		{"notification of an unknown method", `{"jsonrpc":"2.0","method":"x"}`, 204, 0, 0},
		{"batch of notifications", `[{"jsonrpc":"2.0","method":"system.ping"}]`, 204, 0, 0},
		{"batch", batch(50), 200, 0, 50},
		{"long batch", batch(51), 200, -32600, 0},
		{"empty batch", "[]", 200, -32600, 0},
		{"not JSON", "{", 200, -32700, 0},
		{"not UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", 200, -32700, 0},
		{"version 1", `{"id":1,"method":"system.ping"}`, 200, -32600, 0},
		{"unknown method", `{"jsonrpc":"2.0","id":1,"method":"x"}`, 200, -32601, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			resp := g.request(http.MethodPost, "/jsonrpc", nil, tc.body)
			body := resp.body
			if resp.status != tc.status {
				t.Fatalf("status %d, want %d: %s", resp.status, tc.status, body)
			}
			switch {
			case tc.status == http.StatusNoContent:
				if len(body) != 0 {
					t.Errorf("body %s", body)
				}
			case tc.answers > 0:
				if n := len(decode[[]answer](t, body)); n != tc.answers {
					t.Errorf("%d answers, want %d", n, tc.answers)
				}
			default:
				a := decode[answer](t, body)
				if tc.code == 0 && a.Error != nil || tc.code != 0 && (a.Error == nil || a.Error.Code != tc.code) {
					t.Errorf("%s, want code %d", body, tc.code)
				}
			}
		})
	}
	t.Run("available methods", func(t *testing.T) {
		t.Parallel()
		a := g.rpc("x", nil)
		methods, _ := a.Error.Data["available_methods"].([]any)
		if len(methods) != 16 {
			t.Errorf("available_methods %v", methods)
		}
	})
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	g := start(t)
	resp := g.request(http.MethodPost, "/jsonrpc", map[string]string{"X-Request-Id": "mine-1"}, `{"jsonrpc":"2.0","id":1,"method":"x"}`)
	if got := resp.header.Get("X-Request-Id"); got != "mine-1" {
		t.Errorf("%q, want the client's", got)
	}
	if a := decode[answer](t, resp.body); a.Error.Data["request_id"] != "mine-1" {
		t.Errorf("data %v", a.Error.Data)
	}
	resp = g.request(http.MethodGet, "/health", map[string]string{"X-Request-Id": "no spaces\tplease"}, "")
	if got := resp.header.Get("X-Request-Id"); !strings.HasPrefix(got, "req_") {
		t.Errorf("%q, want one of the gateway's", got)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	g := start(t)
	resp := g.request(http.MethodGet, "/health", map[string]string{"X-API-Key": ""}, "")
	if body := strings.TrimSpace(string(resp.body)); resp.status != http.StatusOK || body != `{"status":"healthy"}` {
		t.Errorf("%d %s", resp.status, body)
	}
	if resp := g.request(http.MethodGet, "/ready", map[string]string{"X-API-Key": ""}, ""); resp.status != http.StatusOK {
		t.Errorf("ready: %d %s", resp.status, resp.body)
	}
	if resp := g.request(http.MethodHead, "/health", nil, ""); resp.status != http.StatusOK {
		t.Errorf("HEAD: %d", resp.status)
	}
	g.health.SetDraining()
	if resp := g.request(http.MethodGet, "/ready", nil, ""); resp.status != http.StatusServiceUnavailable {
		t.Errorf("draining: %d", resp.status)
	}
}

func TestLongPoll(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	events := "/v1/jobs/" + j.ID + "/events"
	page := func(query string) apiv1.EventPage {
		t.Helper()
		resp := g.request(http.MethodGet, events+query, nil, "")
		if ct := resp.header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("Content-Type %q", ct)
		}
		return decode[apiv1.EventPage](t, resp.body)
	}
	if p := page(""); len(p.Events) != 1 || p.Next != 1 || p.Done {
		t.Errorf("first page %+v", p)
	}
	if p := page("?after=1&wait=1"); len(p.Events) != 0 || p.Next != 1 || p.Done {
		t.Errorf("page of a wait that ran out %+v", p)
	}
	got := make(chan apiv1.EventPage, 1)
	go func() { got <- page("?after=1&wait=30") }()
	h := g.Claim(t, j.ID)
	if p := <-got; len(p.Events) != 1 || p.Events[0].Type != "job.started" || p.Next != 2 {
		t.Errorf("page of a wait %+v", p)
	}
	edgetest.Complete(t, h, "done")
	if p := page("?after=2&wait=30"); len(p.Events) != 1 || !p.Done {
		t.Errorf("last page %+v", p)
	}
	if p := page("?after=3&wait=30"); len(p.Events) != 0 || !p.Done || p.Next != 3 {
		t.Errorf("page after the end %+v", p)
	}
	golden(t, "long_poll", g.request(http.MethodGet, events, nil, "").body)
}

func TestNDJSON(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	resp, body := g.stream(http.MethodGet, "/v1/jobs/"+j.ID+"/events?after=1", map[string]string{"Accept": "application/x-ndjson"}, "")
	if ct := resp.header.Get("Content-Type"); ct != "application/x-ndjson" {
		t.Errorf("Content-Type %q", ct)
	}
	h := g.Claim(t, j.ID)
	lines := bufio.NewScanner(body)
	next := func() event {
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		return decode[event](t, lines.Bytes())
	}
	if e := next(); e.Seq != 2 || e.Type != "job.started" {
		t.Errorf("%+v", e)
	}
	edgetest.Say(t, h, "item/started", `{}`)
	if e := next(); e.Seq != 3 {
		t.Errorf("%+v", e)
	}
	edgetest.Complete(t, h, "done")
	if e := next(); e.Seq != 4 || e.Type != "job.completed" {
		t.Errorf("%+v", e)
	}
	if lines.Scan() {
		t.Errorf("after the end: %s", lines.Bytes())
	}
}

// sse reads one block of a stream.
func sse(t *testing.T, r *bufio.Reader) map[string]string {
	t.Helper()
	block := map[string]string{}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return block
		}
		k, v, _ := strings.Cut(line, ": ")
		block[k] = v
	}
}

func TestSSE(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	events := "/v1/jobs/" + j.ID + "/events"
	accept := func(more ...string) map[string]string {
		h := map[string]string{"Accept": "text/event-stream"}
		if len(more) > 0 {
			h["Last-Event-ID"] = more[0]
		}
		return h
	}
	resp, stream := g.stream(http.MethodGet, events, accept(), "")
	if ct := resp.header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("Content-Type %q", ct)
	}
	if b := sse(t, stream); b["id"] != "1" || decode[event](t, []byte(b["data"])).Type != "job.queued" {
		t.Errorf("%v", b)
	}
	h := g.Claim(t, j.ID)
	if b := sse(t, stream); b["id"] != "2" {
		t.Errorf("%v", b)
	}
	edgetest.Complete(t, h, "done")
	if b := sse(t, stream); b["id"] != "3" {
		t.Errorf("%v", b)
	}
	if _, err := stream.ReadByte(); err != io.EOF {
		t.Errorf("after the end: %v, want EOF", err)
	}
	// A browser that comes back: the header is newer than the URL.
	_, stream = g.stream(http.MethodGet, events+"?after=0", accept("2"), "")
	if b := sse(t, stream); b["id"] != "3" {
		t.Errorf("%v", b)
	}
	if resp := g.request(http.MethodGet, events, accept("3"), ""); resp.status != http.StatusNoContent {
		t.Errorf("all seen: %d, want 204", resp.status)
	}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	edgetest.Complete(t, g.Claim(t, j.ID), "done")
	for accept, want := range map[string]string{
		"":                                     "application/json",
		"*/*":                                  "application/json",
		"application/*":                        "application/json",
		"text/*":                               "text/event-stream",
		"text/html, application/x-ndjson;q=.5": "application/x-ndjson",
		"application/json;q=0.1, text/event-stream": "text/event-stream",
	} {
		resp := g.request(http.MethodGet, "/v1/jobs/"+j.ID+"/events", map[string]string{"Accept": accept}, "")
		if got := resp.header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: %q, want %q", accept, got, want)
		}
	}
}

func TestArtifact(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	h := g.Claim(t, j.ID)
	held := h.Job()
	a, err := g.Jobs.PutArtifact(t.Context(), &held, job.Artifact{Name: "diff.patch", ContentType: "text/x-diff"}, []byte("--- a\n+++ b\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Finish(t.Context(), job.Result{State: job.Completed, Artifacts: []job.Artifact{a}}); err != nil {
		t.Fatal(err)
	}
	resp := g.request(http.MethodGet, "/v1/jobs/"+j.ID+"/artifacts/diff.patch", nil, "")
	location := resp.header.Get("Location")
	if resp.status != http.StatusFound || !strings.HasPrefix(location, g.url+"/blobs?") {
		t.Fatalf("%d to %q", resp.status, location)
	}
	resp = g.request(http.MethodGet, strings.TrimPrefix(location, g.url), map[string]string{"X-API-Key": ""}, "")
	if body := string(resp.body); body != "--- a\n+++ b\n" {
		t.Errorf("%d %s", resp.status, body)
	}
	listed := call[apiv1.Artifacts](g, "job.artifacts", map[string]any{"job_id": j.ID})
	var names []string
	for _, a := range listed.Artifacts {
		names = append(names, a.Name)
	}
	if diff := cmp.Diff([]string{"diff.patch", "events.jsonl.zst"}, names); diff != "" {
		t.Errorf("artifacts (-want +got):\n%s", diff)
	}
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.PublicURL = "https://gw.example.com/" })
	a := call[apiv1.Accepted](g, "conversation.prompt", map[string]any{"prompt": "x"})
	if want := "https://gw.example.com/v1/jobs/" + a.JobID + "/events"; a.EventsURL != want {
		t.Errorf("events_url %q, want %q", a.EventsURL, want)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.MaxStreams = 1 })
	j := g.Submit(t, job.Submission{})
	events := "/v1/jobs/" + j.ID + "/events"
	g.stream(http.MethodGet, events, map[string]string{"Accept": "text/event-stream"}, "")
	resp := g.request(http.MethodGet, events, map[string]string{"Accept": "text/event-stream"}, "")
	if resp.status != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q", resp.status, resp.header.Get("Retry-After"))
	}
}

// TestChunkedBodyIsBounded sends a body that does not say how long it is.
func TestChunkedBodyIsBounded(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.BodyLimitJSONRPC = 2048 })
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /jsonrpc HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
		adminKey, 4096, strings.Repeat(" ", 4096))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusRequestEntityTooLarge || a.Error.Data["limit_bytes"] != float64(2048) {
		t.Errorf("%d %+v", resp.StatusCode, a.Error)
	}
}

func TestMissingDependenciesAreNamed(t *testing.T) {
	t.Parallel()
	_, err := edge.New(edge.Config{PublicURL: "nonsense"}, edge.Deps{})
	if err == nil {
		t.Fatal("New accepted nothing")
	}
	for _, name := range []string{"Jobs", "Bus", "Blobs", "Health", "Logger", "Now", "Version", "CODEXGW_ADMIN_KEY", "CODEXGW_PUBLIC_URL"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
}
