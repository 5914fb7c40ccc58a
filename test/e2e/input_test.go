package e2e_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
)

// answer is a JSON-RPC answer or a problem, whatever of them is there.
type answer struct {
	Error *struct {
		Code int
		Data struct{ Code, Field string }
	}
	Code, Field string // of a problem
}

func TestBadRequestsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	g := shared(t)
	call := func(params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":` + params + `}`
	}
	for name, c := range map[string]struct {
		method, path, body string
		header             map[string]string
		status             int
		code, field        string
	}{
		"no JSON":           {body: `{"jsonrpc":`, status: 200, code: "parse_error"},
		"no method":         {body: `{"jsonrpc":"2.0","id":1}`, status: 200, code: "invalid_request"},
		"another version":   {body: `{"jsonrpc":"1.0","id":1,"method":"system.ping"}`, status: 200, code: "invalid_request"},
		"empty batch":       {body: `[]`, status: 200, code: "invalid_request"},
		"large batch":       {body: "[" + strings.Repeat(`{"jsonrpc":"2.0","method":"system.ping"},`, 50) + `{"jsonrpc":"2.0","method":"system.ping"}]`, status: 200, code: "invalid_request"},
		"unknown method":    {body: `{"jsonrpc":"2.0","id":1,"method":"job.nonsense"}`, status: 200, code: "method_not_found"},
		"no prompt":         {body: call(`{}`), status: 200, code: "invalid_params", field: "/prompt"},
		"unknown parameter": {body: call(`{"prompt":"x","prmpt":1}`), status: 200, code: "invalid_params", field: "/prmpt"},
		"wrong type":        {body: call(`{"prompt":7}`), status: 200, code: "invalid_params", field: "/prompt"},
		"wait too long":     {body: call(`{"prompt":"x","wait":61}`), status: 200, code: "invalid_params", field: "/wait"},
		"timeout too long":  {body: call(`{"prompt":"x","timeout_s":21601}`), status: 200, code: "invalid_params", field: "/timeout_s"},
		"unknown sandbox":   {body: call(`{"prompt":"x","sandbox":"danger-full-access"}`), status: 200, code: "invalid_params", field: "/sandbox"},
		"image by URL":      {body: call(`{"prompt":"x","images":["https://example.com/x.png"]}`), status: 200, code: "invalid_params", field: "/images/0"},
		"unknown job":       {body: `{"jsonrpc":"2.0","id":1,"method":"job.get","params":{"job_id":"job_unknown"}}`, status: 200, code: "not_found"},
		"too large":         {body: call(`{"prompt":"` + strings.Repeat("x", 8<<20) + `"}`), status: 413, code: "payload_too_large"},
		"no key":            {body: call(`{"prompt":"x"}`), header: map[string]string{"X-Api-Key": ""}, status: 401, code: "unauthenticated"},
		"wrong key":         {body: call(`{"prompt":"x"}`), header: map[string]string{"X-Api-Key": "cgw_local_x_y"}, status: 401, code: "unauthenticated"},
		"wrong media type":  {body: call(`{"prompt":"x"}`), header: map[string]string{"Content-Type": "text/plain"}, status: 415, code: "invalid_request"},
		"wrong HTTP method": {method: http.MethodPut, body: `{}`, status: 405, code: "invalid_request"},
		"no such route":     {path: "/nowhere", body: `{}`, status: 404, code: "not_found"},
		"no upgrade":        {method: http.MethodGet, path: "/ws", status: 426, code: "invalid_request"},
		"events of no job":  {method: http.MethodGet, path: "/v1/jobs/job_unknown/events", status: 404, code: "not_found"},
		"bad after":         {method: http.MethodGet, path: "/v1/jobs/job_unknown/events?after=-1", status: 400, code: "invalid_params", field: "/after"},
		"bad Accept":        {method: http.MethodGet, path: "/v1/jobs/job_unknown/events", header: map[string]string{"Accept": "image/png"}, status: 406, code: "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.method == "" {
				c.method = http.MethodPost
			}
			if c.path == "" {
				c.path = "/jsonrpc"
			}
			header := g.auth()
			header["Content-Type"] = "application/json"
			maps.Copy(header, c.header)
			r := g.send(t, c.method, c.path, c.body, header)
			var a answer
			if err := json.Unmarshal([]byte(r.body), &a); err != nil {
				t.Fatalf("%v: %s", err, r.body)
			}
			code, field := a.Code, a.Field
			if a.Error != nil {
				code, field = a.Error.Data.Code, a.Error.Data.Field
			}
			if r.status != c.status || code != c.code || field != c.field {
				t.Errorf("status %d, code %s, field %q; want %d, %s, %q\n%s", r.status, code, field, c.status, c.code, c.field, r.body)
			}
		})
	}
}
