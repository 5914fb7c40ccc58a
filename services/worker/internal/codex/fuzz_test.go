package codex

import (
	"encoding/json"
	"strings"
	"testing"

	"codexgateway.dev/pkg/errs"
)

// FuzzTurnError: whatever Codex says of a failed turn, the job's error has a
// registered code and a bounded text without innards.
func FuzzTurnError(f *testing.F) {
	for _, seed := range [][2]string{
		{"stream disconnected", `"other"`},
		{"x", `{"httpConnectionFailed":{"httpStatusCode":401}}`},
		{"x", `{"a":1,"b":2}`},
		{"x", `"contextWindowExceeded"`},
		{`unexpected status 400: {"error":{"message":"no"}}, url: http://127.0.0.1:4000/v1/responses`, `"other"`},
		{"sk-abc Bearer x", `null`},
		{"", ``},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, message string, info []byte) {
		e := &TurnError{Message: message, Info: json.RawMessage(info)}
		got := e.Failure()
		if row := errs.Lookup(got.Code); row.Code != got.Code {
			t.Errorf("the code %q is in no registry", got.Code)
		}
		if text := got.Message(); len(text) > 8*publicMax || strings.Contains(text, "http://127.") {
			t.Errorf("the error says %q", text)
		}
	})
}

// FuzzServerRequest: a request that is not as this version knows it is unknown,
// and nothing of it is shown to whoever decides.
func FuzzServerRequest(f *testing.F) {
	for _, seed := range [][2]string{
		{"item/commandExecution/requestApproval", `{"threadId":"t","turnId":"u","itemId":"i","command":"ls"}`},
		{"item/fileChange/requestApproval", `{}`},
		{"item/commandExecution/requestApproval", `[]`},
		{"no/such", `{"a":1}`},
		{"", ``},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, method string, params []byte) {
		r := newServerRequest(nil, &message{Method: method, Params: params})
		if !json.Valid(params) && len(params) > 0 && r.Kind != RequestUnknown {
			t.Errorf("%s with %q is of kind %v", method, params, r.Kind)
		}
	})
}
