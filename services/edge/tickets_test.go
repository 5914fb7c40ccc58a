package edge_test

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge/internal/edgetest"
)

// ticket makes a ticket with the admin key.
func (g *gateway) ticket(body string) string {
	g.t.Helper()
	r := g.request(http.MethodPost, "/v1/tickets", nil, body)
	if r.status != http.StatusCreated {
		g.t.Fatalf("%d %s", r.status, r.body)
	}
	return decode[apiv1.Ticket](g.t, r.body).Ticket
}

// dialAs opens a WebSocket as a browser does, with nothing but subprotocols.
func (g *gateway) dialAs(protocols ...string) (*websocket.Conn, reply, error) {
	g.t.Helper()
	ws, resp, err := websocket.Dial(g.t.Context(), g.url+"/ws", &websocket.DialOptions{ //nolint:bodyclose // nil after an upgrade, and its body is buffered otherwise
		HTTPClient: g.http, Subprotocols: protocols,
	})
	if err == nil {
		g.t.Cleanup(func() { _ = ws.CloseNow() })
	}
	if resp == nil {
		return ws, reply{}, err
	}
	return ws, reply{status: resp.StatusCode, header: resp.Header}, err
}

func TestATicketOpensOneSocket(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	tk := g.ticket("")
	ws, resp, err := g.dialAs("codexgw.v1", "codexgw.ticket."+tk)
	if err != nil {
		t.Fatal(err)
	}
	if got := ws.Subprotocol(); got != "codexgw.v1" {
		t.Errorf("subprotocol %q", got)
	}
	for name, values := range resp.header {
		if strings.Contains(strings.Join(values, " "), tk) {
			t.Errorf("%s shows the ticket", name)
		}
	}
	s := &socket{t: t, ws: ws}
	s.subscribe(j.ID, 0)
	if e := s.event(); e.Seq != 1 {
		t.Errorf("%+v", e)
	}
	if _, resp, err := g.dialAs("codexgw.v1", "codexgw.ticket."+tk); err == nil || resp.status != http.StatusUnauthorized {
		t.Errorf("the second time: %v", err)
	}
}

func TestATicketOpensAnEventStream(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	edgetest.Complete(t, g.Claim(t, j.ID), "done")
	header := map[string]string{"X-API-Key": "", "Authorization": "Ticket " + g.ticket(`{"scopes":["jobs:read"]}`), "Accept": "text/event-stream"}
	if r := g.request(http.MethodGet, "/v1/jobs/"+j.ID+"/events", header, ""); r.status != http.StatusOK || !strings.Contains(string(r.body), "job.completed") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := g.request(http.MethodGet, "/v1/jobs/"+j.ID+"/events", header, ""); r.status != http.StatusUnauthorized {
		t.Errorf("the second time: %d", r.status)
	}
}

// The ticket is shown to one gateway by many at once.
func TestOneOfManyOpensASocketWithATicket(t *testing.T) {
	t.Parallel()
	g := start(t)
	tk := g.ticket("")
	var wg sync.WaitGroup
	var opened atomic.Int64
	for range 8 {
		wg.Go(func() {
			if _, _, err := g.dialAs("codexgw.v1", "codexgw.ticket."+tk); err == nil {
				opened.Add(1)
			}
		})
	}
	wg.Wait()
	if opened.Load() != 1 {
		t.Errorf("%d sockets, want 1", opened.Load())
	}
}

func TestATicketMayDoLessThanItsKey(t *testing.T) {
	t.Parallel()
	g := start(t)
	ws, _, err := g.dialAs("codexgw.v1", "codexgw.ticket."+g.ticket(`{"scopes":["jobs:read"]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := &socket{t: t, ws: ws}
	s.send(`{"jsonrpc":"2.0","id":1,"method":"job.list"}`)
	if m := s.receive(); m.Error != nil {
		t.Errorf("%+v", m.Error)
	}
	s.send(`{"jsonrpc":"2.0","id":2,"method":"conversation.prompt","params":{"prompt":"x"}}`)
	if m := s.receive(); m.Error == nil || m.Error.Code != -32003 {
		t.Errorf("%+v, want permission denied", m)
	}
}

func TestTicketsInTheWrongPlaceAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	tk := g.ticket("")
	events := "/v1/jobs/" + j.ID + "/events"
	for _, tc := range []struct {
		name, method, path string
		header             map[string]string
		body               string
		status             int
	}{
		{"a call", "POST", "/jsonrpc", map[string]string{"Authorization": "Ticket " + tk}, ping, 401},
		{"more tickets", "POST", "/v1/tickets", map[string]string{"Authorization": "Ticket " + tk}, "", 401},
		{"an artifact", "GET", "/v1/jobs/" + j.ID + "/artifacts/x", map[string]string{"Authorization": "Ticket " + tk}, "", 401},
		{"as a key", "GET", events, map[string]string{"X-API-Key": tk}, "", 401},
		{"as a bearer", "GET", events, map[string]string{"Authorization": "Bearer " + tk}, "", 401},
		{"beside a key", "GET", events, map[string]string{"Authorization": "Ticket " + tk, "X-API-Key": adminKey}, "", 401},
		{"two of them", "GET", events, map[string]string{"Authorization": "Ticket " + tk, "Sec-WebSocket-Protocol": "codexgw.v1, codexgw.ticket." + tk}, "", 401},
		{"in the URL", "GET", events + "?ticket=" + tk, nil, "", 401},
		{"the key as a ticket", "GET", events, map[string]string{"Authorization": "Ticket " + adminKey}, "", 401},
		{"a body that is no JSON", "POST", "/v1/tickets", map[string]string{"X-API-Key": adminKey, "Content-Type": "text/plain"}, "x", 415},
		{"a scope there is not", "POST", "/v1/tickets", map[string]string{"X-API-Key": adminKey}, `{"scopes":["all"]}`, 400},
		{"a field there is not", "POST", "/v1/tickets", map[string]string{"X-API-Key": adminKey}, `{"scope":"all"}`, 400},
	} {
		header := map[string]string{"X-API-Key": ""}
		maps.Copy(header, tc.header)
		if r := g.request(tc.method, tc.path, header, tc.body); r.status != tc.status || strings.Contains(string(r.body), tk) {
			t.Errorf("%s: %d %s, want %d", tc.name, r.status, r.body, tc.status)
		}
	}
	// None of them was a use of it.
	if _, _, err := g.dialAs("codexgw.v1", "codexgw.ticket."+tk); err != nil {
		t.Errorf("in the right place: %v", err)
	}
}
