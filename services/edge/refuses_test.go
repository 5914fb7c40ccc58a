package edge_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// TestTheContractRefuses: what the tests of this package are held to would be no
// check if it let everything through.
func TestTheContractRefuses(t *testing.T) {
	t.Parallel()
	c := promises(t)
	const (
		call    = `{"jsonrpc":"2.0","id":1,"method":"system.ping"}`
		pong    = `{"jsonrpc":"2.0","id":1,"result":{"status":"ok","version":"1","time":"2026-01-01T00:00:00.000Z"}}`
		failure = `{"jsonrpc":"2.0","id":1,"error":{"code":-32004,"message":"There is no such job.","data":{"code":"not_found","retryable":false,"request_id":"r"}}}`
		problem = `{"type":"about:blank","title":"Not Found","status":404,"detail":"There is no such job.","code":"not_found","retryable":false,"request_id":"r"}`
		job     = "/v1/jobs/job_x/events"
	)
	const json, problems = "application/json", "application/problem+json"
	for _, tc := range []struct {
		name, method, path string
		status             int
		mediaType          string
		header             map[string]string
		body               string
		ok                 bool
	}{
		{"an answer", "POST", "/jsonrpc", 200, json, nil, pong, true},
		{"an error", "POST", "/jsonrpc", 200, json, nil, failure, true},
		{"a problem", "GET", job, 404, problems, nil, problem, true},
		{"a status that is not said", "GET", job, 418, problems, nil, problem, false},
		{"a media type that is not said", "POST", "/jsonrpc", 200, "text/html", nil, pong, false},
		{"no media type", "POST", "/jsonrpc", 200, "", nil, pong, false},
		{"no request id", "POST", "/jsonrpc", 200, json, map[string]string{"X-Request-Id": ""}, pong, false},
		{"no challenge", "GET", job, 401, problems, nil, strings.ReplaceAll(problem, "404", "401"), false},
		{"a wait that is no number", "GET", job, 429, problems, map[string]string{"Retry-After": "soon"}, strings.ReplaceAll(problem, "404", "429"), false},
		{"a problem of another status", "GET", job, 400, problems, nil, problem, false},
		{"a problem of another request", "GET", job, 404, problems, nil, strings.Replace(problem, `"r"`, `"other"`, 1), false},
		{"a problem without a code", "GET", job, 404, problems, nil, strings.Replace(problem, `"code":"not_found",`, "", 1), false},
		{"a code that is not registered", "GET", job, 404, problems, nil, strings.Replace(problem, "not_found", "lost", 1), false},
		{"a page without its events", "GET", job, 200, json, nil, `{"next":1,"done":false}`, false},
		{"a page with null for its events", "GET", job, 200, json, nil, `{"events":null,"next":1,"done":false}`, false},
		{"a line that is no event", "GET", job, 200, "application/x-ndjson", nil, "{\"seq\":\"1\"}\n", false},
		{"a server-sent event that is none", "GET", job, 200, "text/event-stream", nil, "id: 1\ndata: {}\n\n", false},
		{"a result of another method", "POST", "/jsonrpc", 200, json, nil, `{"jsonrpc":"2.0","id":1,"result":{"jobs":[]}}`, false},
		{"an answer to no call", "POST", "/jsonrpc", 200, json, nil, strings.Replace(pong, `"id":1`, `"id":2`, 1), false},
		{"another version of JSON-RPC", "POST", "/jsonrpc", 200, json, nil, strings.Replace(pong, "2.0", "1.0", 1), false},
		{"a number of another code", "POST", "/jsonrpc", 200, json, nil, strings.Replace(failure, "-32004", "-32005", 1), false},
		{"an error that is worth a retry, and says not", "POST", "/jsonrpc", 200, json, nil, strings.NewReplacer("-32004", "-32603", "not_found", "internal").Replace(failure), false},
		{"a status of its own for an error that has none", "POST", "/jsonrpc", 403, json, nil, failure, false},
		{"no such route", "GET", "/nowhere", 404, problems, nil, problem, true},
		{"no such route, and an answer", "GET", "/nowhere", 200, json, nil, pong, false},
		{"no such method, without Allow", "PUT", "/jsonrpc", 405, problems, nil, strings.ReplaceAll(problem, "404", "405"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{"X-Request-Id": {"r"}, "Content-Type": {tc.mediaType}}
			for k, v := range tc.header {
				h.Set(k, v)
			}
			x := exchange{contract: &contract{
				paths: c.paths, results: c.results, messages: c.messages, problem: c.problem, produced: map[string]bool{},
			}, method: tc.method, path: tc.path, sent: []byte(call), status: tc.status, header: h}
			if err := errors.Join(x.head(), x.body([]byte(tc.body), true)); (err == nil) != tc.ok {
				t.Errorf("%v, want it to be right: %t", err, tc.ok)
			}
		})
	}
	for frame, ok := range map[string]bool{
		pong: true, "[" + pong + "," + failure + "]": true, failure: true,
		`{"jsonrpc":"2.0","id":1,"result":{}}`: false,
		`{"jsonrpc":"2.0","method":"job.subscription_closed","params":{"subscription_id":"sub_1","job_id":"job_1","last_seq":3,"reason":"done"}}`: true,
		`{"jsonrpc":"2.0","method":"job.subscription_closed","params":{"subscription_id":"sub_1"}}`:                                               false,
		`{"jsonrpc":"2.0","method":"job.event","params":{"seq":1}}`:                                                                               false,
		`{"jsonrpc":"2.0","method":"job.forgotten","params":{}}`:                                                                                  false,
	} {
		if err := c.socketFrame([]byte(frame), calls{"1": {"system.ping"}}); (err == nil) != ok {
			t.Errorf("%s: %v, want it to be right: %t", frame, err, ok)
		}
	}
}
