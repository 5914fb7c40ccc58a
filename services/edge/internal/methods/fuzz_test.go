package methods

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/jsonrpc"
)

// FuzzPrompt: whatever the params, the answer is a job within all bounds or an
// invalid_params that names a field.
func FuzzPrompt(f *testing.F) {
	for _, seed := range []string{
		`{"prompt":"x"}`,
		`{"prompt":"x","model":"gpt-5","effort":"high","images":["data:image/png;base64,AA=="],"output_schema":{"type":"object"},"metadata":{"a/b":"c"}}`,
		`{"prompt":"x","repo":{"url":"https://example.com/a.git","ref":"main","subdir":"a/b"},"sandbox":"read-only","timeout_s":60,"priority":-5}`,
		`{"prompt":"x","repo":{"url":"git@example.com:a/b.git"}}`,
		`{"prompt":"x","callback_url":"https://example.com/","idempotency_key":"k","wait":60}`,
		`{"prompt":" ","session_id":"a\u0000b"}`, `{"prompt":"x","output_schema":[1]}`, `{"prompt":"x","images":["file_x","data:,"]}`, `[]`, `{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := jsonrpc.Params[apiv1.PromptParams](raw)
		if err == nil {
			spec, bad := validatePrompt(&p, false)
			if bad == nil {
				if strings.TrimSpace(spec.Prompt) == "" || spec.Timeout < 0 || len(spec.Images) > maxImages || len(spec.Metadata) > maxMetadata || !utf8.ValidString(spec.Prompt) {
					t.Errorf("%s is taken: %+v", raw, spec)
				}
				if spec.Repo != nil && strings.HasPrefix(spec.Repo.URL, "-") {
					t.Errorf("the repository %q is an option", spec.Repo.URL)
				}
				return
			}
			err = bad
		}
		if errs.CodeOf(err) != errs.InvalidParams {
			t.Errorf("%s fails with %v", raw, err)
		}
	})
}

// FuzzItemEvent: an event is shown whole or not at all.
func FuzzItemEvent(f *testing.F) {
	for _, seed := range []string{
		`{"type":"codex","seq":3,"data":{"method":"item/completed","params":{}}}`, `{"type":"codex","data":{"method":"item/agentMessage/delta"}}`,
		`{"type":"job.started"}`, `{"type":"codex"}`, `{"type":"codex","data":[]}`, `null`, `{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if e, ok := itemEvent(raw); ok && (e.Type != eventlog.TypeCodex || !json.Valid(e.Data)) {
			t.Errorf("%s is shown as %+v", raw, e)
		}
	})
}
