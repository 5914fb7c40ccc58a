package edge_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/services/edge"
)

// TestAudit: what is done is in the log stream, what changed something for
// others is listed too, and nothing of a request is in either but ids.
func TestAudit(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	g := start(t, func(c *edge.Config) { c.AuditLog = file })
	j := call[apiv1.Accepted](g, "conversation.prompt", map[string]any{"prompt": "PROMPT-TEXT", "session_id": "s"})
	if got := call[apiv1.Job](g, "job.get", map[string]any{"job_id": j.JobID}); got.KeyID != "admin" {
		t.Errorf("submitted by %q", got.KeyID)
	}
	call[apiv1.JobCancelResult](g, "job.cancel", map[string]any{"job_id": j.JobID, "reason": "REASON-TEXT"})
	call[apiv1.Accepted](g, "job.retry", map[string]any{"job_id": j.JobID})
	for range 5 {
		g.request(http.MethodPost, "/jsonrpc", map[string]string{"X-API-Key": "WRONG-KEY"}, ping)
	}
	tk := g.ticket(`{"scopes":["jobs:read"]}`)
	ws, _, err := g.dialAs("codexgw.v1", "codexgw.ticket."+tk)
	if err != nil {
		t.Fatal(err)
	}
	s := &socket{t: t, ws: ws}
	s.send(`{"jsonrpc":"2.0","id":1,"method":"audit.list"}`)
	if m := s.receive(); m.Error == nil || m.Error.Code != -32003 {
		t.Errorf("%+v, want permission denied", m)
	}
	list := call[apiv1.AuditListResult](g, "audit.list", map[string]any{"action": "job.cancel", "limit": 10})
	if len(list.Records) != 1 || list.Records[0].Target != j.JobID || list.Records[0].KeyID != "admin" || list.Records[0].Address != "127.0.0.1" {
		t.Errorf("%+v", list.Records)
	}
	for _, params := range []map[string]any{{"action": "job.get"}, {"after": "yesterday"}, {"limit": 1000}, {"limit": -1}, {"key_id": "\u0000"}} {
		if a := g.rpc("audit.list", params); a.Error == nil || a.Error.Code != -32602 {
			t.Errorf("%v: %+v", params, a.Error)
		}
	}
	g.stop()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{adminKey, "WRONG-KEY", tk, "PROMPT-TEXT", "REASON-TEXT"} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the log shows %q", secret)
		}
	}
	var got []string
	for line := range strings.Lines(string(raw)) {
		var r struct {
			Log, Action, Outcome, Target string
			Count                        int
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Log != "audit" {
			t.Errorf("%s: %v", line, err)
		}
		got = append(got, r.Action+" "+r.Outcome)
		if r.Count > 0 && (r.Action != "auth.failure" || r.Count != 4) {
			t.Errorf("%s: want the first at once and the other 4 together", line)
		}
	}
	want := "job.submit done,job.cancel done,job.retry done,auth.failure refused,ticket.create done,ticket.use done,permission.denied refused,auth.failure refused"
	if strings.Join(got, ",") != want {
		t.Errorf("%v", got)
	}
}
