package edge_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/edge/internal/edgetest"
)

// reserved are the codes that no answer has yet, and why.
var reserved = map[errs.Code]string{
	errs.ApprovalClosed: "approvals are not served",
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
	rows := map[errs.Code]struct {
		change func(*edge.Config)
		// fails is what the store does once there is a job.
		fails error
		ask   func(g *gateway, jobID string) []byte
	}{
		errs.ParseError:     {ask: func(g *gateway, _ string) []byte { return g.post(`{`) }},
		errs.InvalidRequest: {ask: func(g *gateway, _ string) []byte { return g.post(`{}`) }},
		errs.MethodNotFound: {ask: func(g *gateway, _ string) []byte { return g.post(method("x", `{}`)) }},
		errs.InvalidParams:  {ask: func(g *gateway, _ string) []byte { return g.post(method("job.get", `{}`)) }},
		errs.NotFound:       {ask: func(g *gateway, _ string) []byte { return g.post(method("job.get", `{"job_id":"job_x"}`)) }},
		errs.Internal:       {fails: errors.New("the disk is full"), ask: events},
		errs.Overloaded:     {fails: docstore.ErrUnavailable, ask: events},
		// A deadline within the store is overloaded: this is one of the request.
		errs.DeadlineExceeded: {fails: context.DeadlineExceeded, ask: events},
		errs.Unauthenticated: {ask: func(g *gateway, _ string) []byte {
			g.key = "wrong"
			return g.post(ping)
		}},
		errs.PermissionDenied: {ask: func(g *gateway, _ string) []byte {
			g.key = call[apiv1.NewKey](g, "key.create", map[string]any{"scopes": []string{"jobs:read"}}).Secret
			return g.post(method("key.list", `{}`))
		}},
		errs.Conflict: {ask: func(g *gateway, jobID string) []byte {
			edgetest.Complete(g.t, g.Claim(g.t, jobID), "done")
			return g.post(method("job.cancel", `{"job_id":"`+jobID+`"}`))
		}},
		errs.RateLimited: {change: limited(1), ask: func(g *gateway, _ string) []byte {
			g.post(ping)
			return g.post(ping)
		}},
		errs.IdempotencyMismatch: {ask: func(g *gateway, _ string) []byte {
			g.post(method("conversation.prompt", `{"prompt":"a","idempotency_key":"k"}`))
			return g.post(method("conversation.prompt", `{"prompt":"b","idempotency_key":"k"}`))
		}},
		errs.PayloadTooLarge: {change: func(c *edge.Config) { c.BodyLimitJSONRPC = 2048 }, ask: func(g *gateway, _ string) []byte {
			return g.post(strings.Repeat(" ", 4096))
		}},
		errs.QuotaExceeded: {change: func(c *edge.Config) { c.MaxSubscriptions = 1 }, ask: func(g *gateway, jobID string) []byte {
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
	for _, row := range errs.Registry {
		if row.Scope != errs.Request {
			continue
		}
		tc, ok := rows[row.Code]
		if why := reserved[row.Code]; ok == (why != "") {
			t.Errorf("%s is produced: %t, reserved: %q", row.Code, ok, why)
		}
		if !ok {
			continue
		}
		t.Run(string(row.Code), func(t *testing.T) {
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
			if got.Code != row.Code && got.Error.Data.Code != row.Code {
				t.Errorf("%+v, want %s", got, row.Code)
			}
		})
	}
}
