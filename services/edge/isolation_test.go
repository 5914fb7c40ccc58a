package edge_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/ratelimit"
	"codexgateway.dev/services/edge"
	request "codexgateway.dev/services/edge/internal/call"
	"codexgateway.dev/services/edge/internal/edgetest"
)

// names says which params name something that belongs to a tenant: each has one
// of another tenant and one that never was. What a document describes and is
// neither here nor in plain fails the test: whoever adds a param decides.
type names map[string]struct{ theirs, nobodys string }

// plain are the params that name nothing of a tenant.
var plain = []string{
	"prompt", "model", "effort", "images", "output_schema", "repo", "sandbox", "network", "approval_policy", "timeout_s", "priority",
	"metadata", "callback_url", "wait", "status", "limit", "after", "reason", "name", "scopes", "rate_limit", "expires_at", "overlap_s", "until", "action",
}

// plainRoutes are the parts of routes that name nothing of a tenant.
var plainRoutes = []string{"after", "wait", "Last-Event-ID", "expiry", "method", "signature"}

// ops records what is asked of the documents.
type ops struct {
	docstore.Driver

	mu   sync.Mutex
	seen []string
}

// note leaves out what no request asks for, such as the last use of a key, which
// the gateway writes when it likes, and the log: open streams read it when they
// like. Nobody reads the log of a job that it may not see, or its answer would
// show it.
func (o *ops) note(ctx context.Context, op, collection string) {
	if request.From(ctx).RequestID == "" {
		return
	}
	if collection == eventlog.Collection && op != "write" || collection == ratelimit.Collection || collection == audit.Collection && op == "write" {
		return // the caller's own count and record, which are written now and then
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, op+" "+collection)
}

func (o *ops) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.seen
	o.seen = nil
	return seen
}

func (o *ops) Get(ctx context.Context, key docstore.Key) (docstore.Doc, error) {
	o.note(ctx, "get", key.Collection)
	return o.Driver.Get(ctx, key)
}

func (o *ops) Query(ctx context.Context, q docstore.Query) (docstore.Page, error) {
	o.note(ctx, "query", q.Collection)
	return o.Driver.Query(ctx, q)
}

func (o *ops) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	for i := range writes {
		o.note(ctx, "write", writes[i].Key.Collection)
	}
	return o.Driver.Commit(ctx, writes)
}

// neighbours is a gateway on which another tenant has one of everything.
// The gateway's requests are those of a tenant's own key, which may do all that a
// key may.
func neighbours(t *testing.T) (g *gateway, o *ops, ofMethods, ofRoutes names) {
	t.Helper()
	o = &ops{}
	env := edgetest.OpenThrough(t, func(d docstore.Driver) docstore.Driver {
		o.Driver = d
		return o
	})
	g = startOn(t, env, func(c *edge.Config) { c.PositionCheck = time.Hour }) // which would read too
	const other = "neighbour"
	theirKey := call[apiv1.NewKey](g, "key.create", map[string]any{"tenant": other})
	g.key = call[apiv1.NewKey](g, "key.create", map[string]any{"scopes": apikey.AllScopes(), "rate_limit": 50000}).Secret
	g.rpc("system.ping", nil) // the key is looked up once
	j := g.Submit(t, job.Submission{Tenant: other, SessionID: "theirs", IdempotencyKey: "their-key"})
	h := g.Claim(t, j.ID)
	held := h.Job()
	a, err := g.Jobs.PutArtifact(t.Context(), &held, job.Artifact{Name: "diff.patch", ContentType: "text/x-diff"}, []byte("theirs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Finish(t.Context(), job.Result{State: job.Completed, Artifacts: []job.Artifact{a}}); err != nil {
		t.Fatal(err)
	}
	g.Submit(t, job.Submission{Tenant: other, SessionID: "theirs"})
	_, cursor, err := g.Jobs.List(t.Context(), other, job.Filter{Limit: 1})
	if err != nil || cursor == "" {
		t.Fatalf("no cursor: %v", err)
	}
	forged, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		t.Fatal(err)
	}
	forged[1] ^= 0xff
	// A subscription belongs to its connection.
	sub := g.dial().subscribe(g.Submit(t, job.Submission{}).ID, 1)
	ofMethods = names{
		"job_id":          {j.ID, "job_" + strings.Repeat("0", 26)},
		"conversation_id": {j.ConversationID, "conv_" + strings.Repeat("0", 26)},
		"session_id":      {"theirs", "nobodys"},
		"cursor":          {cursor, base64.RawURLEncoding.EncodeToString(forged)},
		"idempotency_key": {"their-key", "no-key"},
		"subscription_id": {sub, "sub_" + strings.Repeat("1", 26)},
		"key_id":          {theirKey.KeyID, "key_" + strings.Repeat("0", 12)},
		"tenant":          {other, "nobody"},
	}
	return g, o, ofMethods, names{
		"id":              ofMethods["job_id"],
		"name":            {"diff.patch", "nothing"},
		"obj":             {a.Blob, "t/neighbour/jobs/nothing/diff.patch"},
		"Idempotency-Key": ofMethods["idempotency_key"],
	}
}

// same compares two answers, each with its own id made anonymous, and what was
// asked of the documents for them.
func same(t *testing.T, o *ops, theirs, nobodys string, ask func(id string) string) {
	t.Helper()
	answer := func(id string) (string, []string) {
		o.take()
		text := strings.ReplaceAll(ask(id), id, "ID")
		for _, v := range volatile {
			text = v.re.ReplaceAllString(text, v.to)
		}
		return text, o.take()
	}
	foreign, foreignOps := answer(theirs)
	unknown, unknownOps := answer(nobodys)
	if diff := cmp.Diff(unknown, foreign); diff != "" {
		t.Errorf("an id of another tenant can be told from one that never was (-unknown +foreign):\n%s", diff)
	}
	if diff := cmp.Diff(unknownOps, foreignOps); diff != "" {
		t.Errorf("other work is done for another tenant's id (-unknown +foreign):\n%s", diff)
	}
}

func readDocument[T any](t *testing.T, name string) T {
	t.Helper()
	b, err := os.ReadFile(reference + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return decode[T](t, b)
}

// TestNoMethodTellsTenantsApart walks every method of the WebSocket, which has
// them all, and every param of it that names something.
func TestNoMethodTellsTenantsApart(t *testing.T) { //nolint:tparallel // the subtests watch the same documents, one after the other
	t.Parallel()
	g, o, ids, _ := neighbours(t)
	mine := g.Submit(t, job.Submission{})
	edgetest.Complete(t, g.Claim(t, mine.ID), "mine")
	// What a method needs besides the param that is tried.
	base := map[string]map[string]any{
		"conversation.prompt": {"prompt": "x"},
		"job.retry":           {"job_id": mine.ID},
		"key.rotate":          {"key_id": ids["key_id"].theirs},
		"key.revoke":          {"key_id": ids["key_id"].theirs},
	}
	doc := readDocument[struct {
		Methods []struct {
			Name   string
			Params []struct{ Name string }
		}
	}](t, "openrpc.json")
	s := g.dial()
	for _, m := range doc.Methods {
		for _, p := range m.Params {
			id, named := ids[p.Name]
			if !named {
				if !slices.Contains(plain, p.Name) {
					t.Errorf("%s: does %s name something of a tenant? Say so in this test.", m.Name, p.Name)
				}
				continue
			}
			params := map[string]any{}
			maps.Copy(params, base[m.Name])
			frame := func(id string) string {
				params[p.Name] = id
				raw, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": m.Name, "params": params})
				if err != nil {
					t.Fatal(err)
				}
				return string(raw)
			}
			t.Run(m.Name+" "+p.Name, func(t *testing.T) { //nolint:paralleltest // the documents are watched
				same(t, o, id.theirs, id.nobodys, func(id string) string {
					s.send(frame(id))
					b, err := s.read()
					if err != nil {
						t.Fatal(err)
					}
					return string(b)
				})
				if m.Name == "job.subscribe" || m.Name == "job.unsubscribe" {
					return // not over HTTP
				}
				same(t, o, id.theirs, id.nobodys, func(id string) string {
					r := g.request(http.MethodPost, "/jsonrpc", nil, frame(id))
					return fmt.Sprint(r.status, " ", string(r.body))
				})
			})
		}
	}
}

// TestNoRouteTellsTenantsApart walks every route and every part of a request to
// it that names something.
func TestNoRouteTellsTenantsApart(t *testing.T) { //nolint:tparallel // the subtests watch the same documents, one after the other
	t.Parallel()
	g, o, _, ids := neighbours(t)
	doc := readDocument[struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
		}
	}](t, "openapi.json")
	bodies := map[string]string{
		"/jsonrpc": `{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":{"prompt":"x"}}`,
		"/exec":    `{"prompt":"x"}`,
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			for _, p := range op.Parameters {
				id, named := ids[p.Name]
				if !named {
					if !slices.Contains(plainRoutes, p.Name) {
						t.Errorf("%s: does %s name something of a tenant? Say so in this test.", path, p.Name)
					}
					continue
				}
				for _, accept := range []string{"application/json", "text/event-stream", "application/x-ndjson"} {
					t.Run(strings.Join([]string{method, path, p.Name, accept}, " "), func(t *testing.T) { //nolint:paralleltest // the documents are watched
						same(t, o, id.theirs, id.nobodys, func(id string) string {
							target, header := path, map[string]string{"Accept": accept}
							switch p.In {
							case "path":
								target = strings.ReplaceAll(path, "{"+p.Name+"}", id)
							case "query":
								target += "?" + p.Name + "=" + url.QueryEscape(id)
							case "header":
								header[p.Name] = id
							}
							for name, other := range ids {
								target = strings.ReplaceAll(target, "{"+name+"}", other.theirs)
							}
							r, body := g.stream(strings.ToUpper(method), target, header, bodies[path])
							line, err := body.ReadString('\n') // a stream of a job that nobody works on says no more
							if err != nil && !errors.Is(err, io.EOF) {
								t.Fatal(err)
							}
							r.header.Del("Date")
							r.header.Del("X-Request-Id")
							r.header.Del("X-Job-Id")
							r.header.Del("Link")
							r.header.Del("Ratelimit")
							return fmt.Sprint(r.status, " ", r.header, " ", line)
						})
					})
				}
			}
		}
	}
}
