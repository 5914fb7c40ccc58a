package edge_test

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge/internal/edgetest"
)

// TestFramingThatCannotBeCheckedEndsTheConnection: net/http takes a
// Content-Length beside Transfer-Encoding away and any Transfer-Encoding from
// HTTP/1.0, so a proxy in front that goes by the other header sees the request
// end elsewhere, and what it takes for the body would be served as a request.
func TestFramingThatCannotBeCheckedEndsTheConnection(t *testing.T) {
	t.Parallel()
	g := start(t)
	const head = "Host: gw\r\nX-API-Key: " + adminKey + "\r\nContent-Type: application/json\r\n"
	const hidden = "GET /hidden HTTP/1.1\r\nHost: gw\r\n\r\n"
	for _, tc := range []struct{ name, send string }{
		{"chunked and a length", "POST /jsonrpc HTTP/1.1\r\n" + head + "Content-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden},
		{"chunked in HTTP/1.0", "POST /jsonrpc HTTP/1.0\r\nConnection: keep-alive\r\n" + head + "Transfer-Encoding: chunked\r\n\r\n" + hidden},
		{"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\n" + hidden},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, tc.send); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(conn)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			if err := errors.Join(err, resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			if more, _ := io.ReadAll(r); len(more) > 0 { // a reset is an end, too
				t.Errorf("a request was served that was none: %s", more)
			}
		})
	}
}

// TestHandshakesAreRefusedAsProblems: the WebSocket library refuses in plain text
// that repeats what the client sent.
func TestHandshakesAreRefusedAsProblems(t *testing.T) {
	t.Parallel()
	g := start(t)
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	for _, tc := range []struct {
		name   string
		change map[string]string
		status int
	}{
		{"upgrade inside another word", map[string]string{"Connection": "no-upgrade-please"}, http.StatusUpgradeRequired},
		{"another protocol", map[string]string{"Upgrade": "websocket2"}, http.StatusUpgradeRequired},
		{"no version", map[string]string{"Sec-WebSocket-Version": ""}, http.StatusUpgradeRequired},
		{"version 8", map[string]string{"Sec-WebSocket-Version": "8"}, http.StatusUpgradeRequired},
		{"no key", map[string]string{"Sec-WebSocket-Key": ""}, http.StatusBadRequest},
		{"short key", map[string]string{"Sec-WebSocket-Key": "YWJj"}, http.StatusBadRequest},
		{"key that is no base64", map[string]string{"Sec-WebSocket-Key": "repeat me!"}, http.StatusBadRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			header := map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
			maps.Copy(header, tc.change)
			resp := g.request(http.MethodGet, "/ws", header, "")
			p := decode[map[string]any](t, resp.body)
			if resp.status != tc.status || p["code"] != "invalid_request" || resp.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %s, want %d", resp.status, resp.body, tc.status)
			}
			if _, about := tc.change["Sec-WebSocket-Version"]; about && resp.header.Get("Sec-WebSocket-Version") != "13" {
				t.Error("it is not said which version there is")
			}
			if strings.Contains(string(resp.body), "repeat me") {
				t.Errorf("the answer repeats the key: %s", resp.body)
			}
		})
	}
}

// TestHeadersAndQueriesThatSayTwoThings: one of two values is not silently the
// one that counts, and what cannot be read is not as if it were not there.
func TestHeadersAndQueriesThatSayTwoThings(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	events := "/v1/jobs/" + j.ID + "/events"
	h := func(pairs ...string) http.Header {
		all := http.Header{"X-Api-Key": {adminKey}}
		for i := 0; i < len(pairs); i += 2 {
			all.Add(pairs[i], pairs[i+1])
		}
		return all
	}
	prompt := `{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":{"prompt":"x"}}`
	for _, tc := range []struct {
		name, method, path string
		header             http.Header
		body               string
		status             int
		has                string
	}{
		{"query with a bad escape", "GET", events + "?after=%zz", h(), "", 400, "invalid_params"},
		{"query with a semicolon", "GET", events + "?after=1;wait=1", h(), "", 400, "invalid_params"},
		{"Last-Event-ID twice", "GET", events, h("Accept", "text/event-stream", "Last-Event-ID", "1", "Last-Event-ID", "2"), "", 400, "Last-Event-ID"},
		{"Accept in two lines", "GET", events, h("Accept", "text/html", "Accept", "application/json"), "", 200, `"events"`},
		{"Accept of weight 0", "GET", events, h("Accept", "application/json;q=0"), "", 406, "invalid_request"},
		{"Accept that leaves something", "GET", events, h("Accept", "text/event-stream;q=0, application/*;q=0.1"), "", 200, `"events"`},
		{"two codings", "POST", "/jsonrpc", h("Content-Type", "application/json", "Content-Encoding", "identity", "Content-Encoding", "gzip"), ping, 415, "invalid_request"},
		{"two types", "POST", "/jsonrpc", h("Content-Type", "application/json", "Content-Type", "text/plain"), ping, 415, "invalid_request"},
		{"idempotency key with a tab", "POST", "/jsonrpc", h("Content-Type", "application/json", "Idempotency-Key", "a\tb"), prompt, 200, "/idempotency_key"},
		{"idempotency key that is no UTF-8", "POST", "/jsonrpc", h("Content-Type", "application/json", "Idempotency-Key", "a\xff"), prompt, 200, "/idempotency_key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), tc.method, g.url+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = tc.header
			resp, err := g.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err := errors.Join(err, resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tc.status || !strings.Contains(string(body), tc.has) {
				t.Errorf("%d %s, want %d with %s", resp.StatusCode, body, tc.status, tc.has)
			}
		})
	}
}

// TestTextThatIsNoUTF8EndsTheSocket as RFC 6455, section 8.1, demands, however much
// more of it is on its way.
func TestTextThatIsNoUTF8EndsTheSocket(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.dial()
	for range 100 {
		if err := s.ws.Write(t.Context(), websocket.MessageText, []byte("\"\xff\"")); err != nil {
			break // it is closed already
		}
	}
	_, err := s.read()
	if got := websocket.CloseStatus(err); got != websocket.StatusInvalidFramePayloadData {
		t.Errorf("closed with %d (%v), want 1007", got, err)
	}
}

// TestEveryAnswerSaysThatItIsWhatItSays: a browser must not guess that JSON is a
// page, whichever handler wrote it.
func TestEveryAnswerSaysThatItIsWhatItSays(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{Tenant: edgetest.Tenant})
	for _, path := range []string{"/health", "/ready", "/openrpc.json", "/nowhere", "/blobs", "/v1/jobs/" + j.ID + "/events"} {
		if got := g.request(http.MethodGet, path, nil, "").header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options %q", path, got)
		}
	}
}
