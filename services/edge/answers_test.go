package edge_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/ratelimit"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/edge/internal/edgetest"
)

// failing is documents that fail while cause is set. What the edge counts and
// records beside its answers goes on.
type failing struct {
	docstore.Driver

	cause atomic.Pointer[error]
}

func (f *failing) err(collection string) error {
	if p := f.cause.Load(); p != nil && collection != ratelimit.Collection {
		return *p
	}
	return nil
}

func (f *failing) Get(ctx context.Context, k docstore.Key) (docstore.Doc, error) {
	if err := f.err(k.Collection); err != nil {
		return docstore.Doc{}, err
	}
	return f.Driver.Get(ctx, k)
}

func (f *failing) Query(ctx context.Context, q docstore.Query) (docstore.Page, error) {
	if err := f.err(q.Collection); err != nil {
		return docstore.Page{}, err
	}
	return f.Driver.Query(ctx, q)
}

func (f *failing) Commit(ctx context.Context, w []docstore.Write) ([]docstore.Version, error) {
	if err := f.err(w[0].Key.Collection); err != nil {
		return nil, err
	}
	return f.Driver.Commit(ctx, w)
}

// startFailing runs an edge whose documents fail on demand.
func startFailing(tb testing.TB, change ...func(*edge.Config)) (*gateway, *failing) {
	tb.Helper()
	f := &failing{}
	return startOn(tb, edgetest.OpenThrough(tb, func(d docstore.Driver) docstore.Driver {
		f.Driver = d
		return f
	}), change...), f
}

// upgrade are the headers of a WebSocket's handshake.
func upgrade(ticket string) map[string]string {
	h := map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
	if ticket != "" {
		h["X-API-Key"], h["Sec-WebSocket-Protocol"] = "", "codexgw.v1, codexgw.ticket."+ticket
	}
	return h
}

// status checks the status of an answer; the harness holds the rest to the
// documents.
func (g *gateway) status(want int, method, path string, header map[string]string, body string) {
	g.t.Helper()
	if r := g.request(method, path, header, body); r.status != want {
		g.t.Errorf("%s %s: %d %s, want %d", method, path, r.status, r.body, want)
	}
}

// TestAStoreThatFails: what is away is 503, what takes too long 504, all else a
// 500 that says nothing.
func TestAStoreThatFails(t *testing.T) {
	t.Parallel()
	for status, cause := range map[int]error{
		http.StatusServiceUnavailable: docstore.ErrUnavailable, http.StatusGatewayTimeout: context.DeadlineExceeded,
		http.StatusInternalServerError: errors.New("disk of 10.0.0.1 is full"),
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			g, store := startFailing(t)
			j := g.Submit(t, job.Submission{})
			ticket := g.ticket("")
			store.cause.Store(&cause)
			g.status(status, "GET", "/v1/jobs/"+j.ID+"/events", nil, "")
			g.status(status, "GET", "/v1/jobs/"+j.ID+"/artifacts/diff.patch", nil, "")
			g.status(status, "POST", "/exec", nil, `{"prompt":"x"}`)
			g.status(status, "POST", "/v1/tickets", nil, `{}`)
			g.status(status, "GET", "/ws", upgrade(ticket), "")
			call := `{"jsonrpc":"2.0","id":1,"method":"job.get","params":{"job_id":"` + j.ID + `"}}`
			of := http.StatusOK // the envelope carries the one status only
			if status == http.StatusServiceUnavailable {
				of = status
			}
			g.status(of, "POST", "/jsonrpc", nil, call)
		})
	}
}

func TestEveryRouteKeepsTheRateOfAKey(t *testing.T) {
	t.Parallel()
	g := start(t, limited(1))
	g.status(http.StatusOK, "POST", "/jsonrpc", nil, ping)
	const over = http.StatusTooManyRequests
	g.status(over, "POST", "/jsonrpc", nil, ping)
	g.status(over, "GET", "/v1/jobs/job_x/events", nil, "")
	g.status(over, "GET", "/v1/jobs/job_x/artifacts/diff.patch", nil, "")
	g.status(over, "POST", "/exec", nil, `{"prompt":"x"}`)
	g.status(over, "POST", "/v1/tickets", nil, `{}`)
	g.status(over, "GET", "/ws", upgrade(""), "")
}

func TestEveryRouteWantsItsScope(t *testing.T) {
	t.Parallel()
	g := start(t)
	scoped := func(scope string) map[string]string {
		return map[string]string{"X-API-Key": call[apiv1.NewKey](g, apiv1.MethodKeyCreate, apiv1.KeyCreateParams{Scopes: []string{scope}}).Secret}
	}
	reader, writer := scoped("jobs:read"), scoped("jobs:write")
	const denied = http.StatusForbidden
	g.status(denied, "GET", "/v1/jobs/job_x/events", writer, "")
	g.status(denied, "GET", "/v1/jobs/job_x/artifacts/diff.patch", writer, "")
	g.status(denied, "POST", "/exec", reader, `{"prompt":"x"}`)
	g.status(denied, "POST", "/exec", writer, `{"prompt":"x"}`)
	g.status(denied, "POST", "/jsonrpc", reader, `{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":{"prompt":"x"}}`)
}

func TestEveryRouteBoundsItsBody(t *testing.T) {
	t.Parallel()
	g := start(t)
	large := strings.Repeat(" ", 8<<20+1)
	everyRoute(t, func(method, path string) {
		g.status(http.StatusRequestEntityTooLarge, method, path, nil, large)
	})
}

// A body that does not come as it says it does is no request, also where no route
// has a use for it.
func TestEveryRouteReadsItsBody(t *testing.T) {
	t.Parallel()
	g := start(t)
	everyRoute(t, func(method, path string) {
		r := g.write(method, path, "X-API-Key: "+adminKey+"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n")
		if r.status != http.StatusBadRequest {
			t.Errorf("%s %s: %d %s", method, path, r.status, r.body)
		}
	})
}

// everyRoute tries each documented route and method.
func everyRoute(t *testing.T, try func(method, path string)) {
	t.Helper()
	for _, p := range promises(t).paths {
		for method := range p.operations {
			try(method, strings.NewReplacer("{id}", "job_x", "{name}", "x").Replace(p.template))
		}
	}
}

func TestHeadIsGetWithoutTheBody(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, path := range []string{"/health", "/ready", "/openrpc.json", "/openapi.json", "/asyncapi.json"} {
		got, head := g.request(http.MethodGet, path, nil, ""), g.request(http.MethodHead, path, nil, "")
		if head.status != got.status || len(head.body) != 0 || head.header.Get("Content-Type") != got.header.Get("Content-Type") {
			t.Errorf("%s: %d %v, %d bytes", path, head.status, head.header, len(head.body))
		}
	}
	g.health.SetDraining()
	g.status(http.StatusServiceUnavailable, "HEAD", "/ready", nil, "")
}

// TestBlobs: a link serves the file, a part of it, and says when it is gone.
func TestBlobs(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	h := g.Claim(t, j.ID)
	held := h.Job()
	a, err := g.Jobs.PutArtifact(t.Context(), &held, job.Artifact{Name: "diff.patch", ContentType: "text/x-diff"}, []byte("0123456789"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Finish(t.Context(), job.Result{State: job.Completed, Artifacts: []job.Artifact{a}}); err != nil {
		t.Fatal(err)
	}
	link := strings.TrimPrefix(g.request(http.MethodGet, "/v1/jobs/"+j.ID+"/artifacts/diff.patch", nil, "").header.Get("Location"), g.url)
	const future, past = "Fri, 01 Jan 2100 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 GMT"
	part := map[string]string{"Range": "bytes=2-4"}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		g.status(http.StatusOK, method, link, nil, "")
		g.status(http.StatusPartialContent, method, link, part, "")
		g.status(http.StatusRequestedRangeNotSatisfiable, method, link, map[string]string{"Range": "bytes=20-"}, "")
		g.status(http.StatusNotModified, method, link, map[string]string{"If-Modified-Since": future}, "")
		g.status(http.StatusPreconditionFailed, method, link, map[string]string{"If-Unmodified-Since": past}, "")
	}
	if r := g.request(http.MethodGet, link, part, ""); string(r.body) != "234" {
		t.Errorf("%d %s", r.status, r.body)
	}
	stored, err := g.Jobs.Get(t.Context(), edgetest.Tenant, j.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Platform.Blobs.Delete(t.Context(), stored.Artifacts[0].Blob); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		g.status(http.StatusNotFound, method, link, nil, "")
	}
}
