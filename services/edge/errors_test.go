package edge_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/edge/internal/edgetest"
)

// reserved are the codes that no answer has yet, and why.
var reserved = []struct {
	code errs.Code
	why  string
}{
	{errs.ApprovalClosed, "approvals are not served"},
}

// post sends a body to /jsonrpc and returns the answer's.
func (g *gateway) post(body string) []byte {
	g.t.Helper()
	return g.request(http.MethodPost, "/jsonrpc", nil, body).body
}

// TestEveryRequestErrorIsReached: a code that clients shall handle and nobody can
// get would be a promise about nothing.
func TestEveryRequestErrorIsReached(t *testing.T) {
	t.Parallel()
	method := func(name, params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"` + name + `","params":` + params + `}`
	}
	events := func(g *gateway, jobID string) []byte {
		return g.request(http.MethodGet, "/v1/jobs/"+jobID+"/events", nil, "").body
	}
	rows := []struct {
		code   errs.Code
		change func(*edge.Config)
		// fails is what the store does once there is a job.
		fails error
		ask   func(g *gateway, jobID string) []byte
	}{
		{code: errs.ParseError, ask: func(g *gateway, _ string) []byte { return g.post(`{`) }},
		{code: errs.InvalidRequest, ask: func(g *gateway, _ string) []byte { return g.post(`{}`) }},
		{code: errs.MethodNotFound, ask: func(g *gateway, _ string) []byte { return g.post(method("x", `{}`)) }},
		{code: errs.InvalidParams, ask: func(g *gateway, _ string) []byte { return g.post(method("job.get", `{}`)) }},
		{code: errs.NotFound, ask: func(g *gateway, _ string) []byte { return g.post(method("job.get", `{"job_id":"job_x"}`)) }},
		{code: errs.Internal, fails: errors.New("the disk is full"), ask: events},
		{code: errs.Overloaded, fails: docstore.ErrUnavailable, ask: events},
		// A deadline within the store is overloaded: this is one of the request.
		{code: errs.DeadlineExceeded, fails: context.DeadlineExceeded, ask: events},
		{code: errs.Unauthenticated, ask: func(g *gateway, _ string) []byte {
			g.key = "wrong"
			return g.post(ping)
		}},
		{code: errs.PermissionDenied, ask: func(g *gateway, _ string) []byte {
			g.key = call[apiv1.NewKey](g, "key.create", map[string]any{"scopes": []string{"jobs:read"}}).Secret
			return g.post(method("key.list", `{}`))
		}},
		{code: errs.Conflict, ask: func(g *gateway, jobID string) []byte {
			edgetest.Complete(g.t, g.Claim(g.t, jobID), "done")
			return g.post(method("job.cancel", `{"job_id":"`+jobID+`"}`))
		}},
		{code: errs.RateLimited, change: limited(1), ask: func(g *gateway, _ string) []byte {
			g.post(ping)
			return g.post(ping)
		}},
		{code: errs.IdempotencyMismatch, ask: func(g *gateway, _ string) []byte {
			g.post(method("conversation.prompt", `{"prompt":"a","idempotency_key":"k"}`))
			return g.post(method("conversation.prompt", `{"prompt":"b","idempotency_key":"k"}`))
		}},
		{code: errs.PayloadTooLarge, change: func(c *edge.Config) { c.BodyLimitJSONRPC = 2048 }, ask: func(g *gateway, _ string) []byte {
			return g.post(strings.Repeat(" ", 4096))
		}},
		{code: errs.QuotaExceeded, change: func(c *edge.Config) { c.MaxSubscriptions = 1 }, ask: func(g *gateway, jobID string) []byte {
			s := g.dial()
			s.subscribe(jobID, 1)
			s.send(method("job.subscribe", `{"job_id":"`+jobID+`"}`))
			b, err := s.read()
			if err != nil {
				g.t.Fatal(err)
			}
			return b
		}},
	}
	var covered []errs.Code
	for _, tc := range rows {
		covered = append(covered, tc.code)
		t.Run(string(tc.code), func(t *testing.T) {
			t.Parallel()
			change := tc.change
			if change == nil {
				change = func(*edge.Config) {}
			}
			g, store := startFailing(t, change)
			j := g.Submit(t, job.Submission{})
			if tc.fails != nil {
				store.cause.Store(&tc.fails)
			}
			got := decode[struct {
				Code  errs.Code
				Error struct{ Data struct{ Code errs.Code } }
			}](t, tc.ask(g, j.ID))
			if got.Code != tc.code && got.Error.Data.Code != tc.code {
				t.Errorf("%+v, want %s", got, tc.code)
			}
		})
	}
	for _, r := range reserved {
		covered = append(covered, r.code)
		t.Logf("%s is reserved: %s", r.code, r.why)
	}
	var registered []errs.Code
	for _, row := range errs.Registry {
		if row.Scope == errs.Request {
			registered = append(registered, row.Code)
		}
	}
	slices.Sort(covered)
	slices.Sort(registered)
	if diff := cmp.Diff(registered, covered); diff != "" {
		t.Errorf("codes (-registered +produced or reserved, each once):\n%s", diff)
	}
}
