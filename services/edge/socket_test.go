package edge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/edge/internal/edgetest"
)

func TestSocketServesMethods(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.dial()
	s.send(ping)
	if m := s.receive(); string(m.ID) != "1" || m.Error != nil {
		t.Errorf("%+v", m)
	}
	s.send(`{"jsonrpc":"2.0","id":2,"method":"x"}`)
	if m := s.receive(); m.Error == nil || m.Error.Code != -32601 || len(m.Error.Data["available_methods"].([]any)) != 18 { //nolint:errcheck // a panic fails the test
		t.Errorf("%+v", m)
	}
	s.send(`{`)
	if m := s.receive(); m.Error == nil || m.Error.Code != -32700 || string(m.ID) != "null" {
		t.Errorf("%+v", m)
	}
	s.send(`{"jsonrpc":"2.0","method":"system.ping"}`) // no answer
	s.send(`[` + ping + `,` + ping + `]`)
	b, err := s.read()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(decode[[]answer](t, b)); n != 2 {
		t.Errorf("%d answers, want 2", n)
	}
}

func TestSubscription(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	s := g.dial()
	sub := s.subscribe(j.ID, 0)
	if e := s.event(); e.SubscriptionID != sub || e.Seq != 1 || e.JobID != j.ID {
		t.Errorf("%+v", e)
	}
	h := g.Claim(t, j.ID)
	if e := s.event(); e.Seq != 2 {
		t.Errorf("%+v", e)
	}
	edgetest.Say(t, h, "item/started", `{"item":{"id":"i1"}}`)
	m := s.receive()
	golden(t, "job_event", m.Params)
	edgetest.Complete(t, h, "done")
	if e := s.event(); e.Type != "job.completed" {
		t.Errorf("%+v", e)
	}
	m = s.receive()
	if m.Method != "job.subscription_closed" {
		t.Errorf("%+v", m)
	}
	golden(t, "subscription_closed", m.Params)
	s.send(ping) // the socket stays open
	if m := s.receive(); string(m.ID) != "1" {
		t.Errorf("%+v", m)
	}
}

// TestReconnect loses its connection after every third event and resumes with
// the last seq it has.
func TestReconnect(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	h := g.Claim(t, j.ID)
	const total = 30
	var writer sync.WaitGroup
	defer writer.Wait() // the last event can be read before its writer knows that it is stored
	writer.Go(func() {
		for range total - 3 {
			edgetest.Say(t, h, "item/started", `{}`)
		}
		edgetest.Complete(t, h, "done")
	})
	var got []int64
	last := int64(0)
	for last < total {
		s := g.dial()
		s.subscribe(j.ID, last)
		for range 3 {
			e := s.event()
			got = append(got, e.Seq)
			if last = e.Seq; last == total {
				break
			}
		}
		_ = s.ws.CloseNow()
	}
	var want []int64
	for seq := range int64(total) {
		want = append(want, seq+1)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("seqs (-want +got):\n%s", diff)
	}
}

func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	g := start(t)
	j := g.Submit(t, job.Submission{})
	s := g.dial()
	sub := s.subscribe(j.ID, 1)
	s.send(`{"jsonrpc":"2.0","id":3,"method":"job.unsubscribe","params":{"subscription_id":"` + sub + `"}}`)
	m := s.receive()
	closed := decode[struct{ Reason string }](t, m.Params)
	if m.Method != "job.subscription_closed" || closed.Reason != "unsubscribed" {
		t.Errorf("%+v", m)
	}
	if m := s.receive(); string(m.ID) != "3" || m.Error != nil {
		t.Errorf("%+v", m)
	}
	edgetest.Complete(t, g.Claim(t, j.ID), "done")
	s.send(ping)
	if m := s.receive(); string(m.ID) != "1" {
		t.Errorf("after the end: %+v", m)
	}
}

func TestSubscribeErrors(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.MaxSubscriptions = 2 })
	j := g.Submit(t, job.Submission{})
	foreign := g.Submit(t, job.Submission{Tenant: "other"})
	s := g.dial()
	s.subscribe(j.ID, 1)
	s.subscribe(j.ID, 1)
	for _, tc := range []struct {
		method, params string
		code           int
	}{
		{"job.subscribe", `{"job_id":"` + j.ID + `"}`, -32010},
		{"job.subscribe", `{"job_id":"` + foreign.ID + `"}`, -32004},
		{"job.subscribe", `{"job_id":"` + j.ID + `","after":-1}`, -32602},
		{"job.subscribe", `{}`, -32602},
		{"job.unsubscribe", `{"subscription_id":"sub_x"}`, -32004},
		{"job.unsubscribe", `{}`, -32602},
	} {
		s.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, tc.method, tc.params))
		if m := s.receive(); m.Error == nil || m.Error.Code != tc.code {
			t.Errorf("%s %s: %+v, want %d", tc.method, tc.params, m, tc.code)
		}
	}
}

// closeOf reads until the connection ends and returns its close error.
func (s *socket) closeOf() websocket.CloseError {
	s.t.Helper()
	for {
		if _, err := s.read(); err != nil {
			var closed websocket.CloseError
			errors.As(err, &closed)
			return closed
		}
	}
}

func TestSocketBinaryFrame(t *testing.T) {
	t.Parallel()
	g := start(t)
	s := g.dial()
	if err := s.ws.Write(t.Context(), websocket.MessageBinary, []byte(ping)); err != nil {
		t.Fatal(err)
	}
	if c := s.closeOf(); c.Code != 4502 {
		t.Errorf("closed with %d, want 4502", c.Code)
	}
}

func TestSocketMessageTooLarge(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.BodyLimitWS = 2048 })
	s := g.dial()
	// The server stops to read in the middle of it: a connection that it closed
	// then would be reset, and the client would not learn why.
	s.send(strings.Repeat(" ", 200_000))
	if c := s.closeOf(); c.Code != websocket.StatusMessageTooBig {
		t.Errorf("closed with %d, want 1009", c.Code)
	}
}

func TestSocketSubprotocolAndOrigin(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.Origins = []string{"https://*.example.com"} })
	for origin, ok := range map[string]bool{
		g.url: true, "https://app.example.com": true, "https://example.com": false, "http://app.example.com": false, "null": false,
	} {
		ws, resp, err := websocket.Dial(t.Context(), g.url+"/ws", &websocket.DialOptions{ //nolint:bodyclose // nil after an upgrade, and its body is buffered otherwise
			HTTPClient: g.http, Subprotocols: []string{"codexgw.v1"},
			HTTPHeader: http.Header{"Authorization": {"Bearer " + adminKey}, "Origin": {origin}},
		})
		if ok != (err == nil) {
			t.Errorf("origin %s: %v, want allowed %t", origin, err, ok)
		}
		if !ok {
			if resp == nil || resp.StatusCode != http.StatusForbidden {
				t.Errorf("origin %s: %+v, want 403", origin, resp)
			}
			continue
		}
		if ws.Subprotocol() != "codexgw.v1" {
			t.Errorf("subprotocol %q", ws.Subprotocol())
		}
		_ = ws.CloseNow()
	}
}

// TestDrain: an instance that goes away tells sockets and streams when to come
// back, and finishes requests in hand.
func TestDrain(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.MaxStreams = 3 })
	j := g.Submit(t, job.Submission{})
	s := g.dial()
	s.subscribe(j.ID, 1)
	s.send(`{"jsonrpc":"2.0","id":9,"method":"conversation.prompt","params":{"prompt":"x","wait":60}}`)
	_, stream := g.stream(http.MethodGet, "/v1/jobs/"+j.ID+"/events?after=1", map[string]string{"Accept": "text/event-stream"}, "")
	// The stop must find the poll in hand: one that comes later is refused. The
	// instance has three streams: once a fourth is refused, the poll is the third.
	poll := make(chan reply, 1)
	go func() {
		defer close(poll)
		for {
			if r := g.request(http.MethodGet, "/v1/jobs/"+j.ID+"/events?after=1&wait=60", nil, ""); r.status != http.StatusServiceUnavailable {
				poll <- r
				return
			}
		}
	}()
	for g.request(http.MethodGet, "/v1/jobs/"+j.ID+"/events?after=0&wait=1", nil, "").status != http.StatusServiceUnavailable {
	}
	for len(g.jobs()) < 2 {
		s.send(ping) // paces the loop by round trips
		if m := s.receive(); string(m.ID) != "1" {
			t.Fatalf("%+v", m)
		}
	}
	// Stopped from elsewhere: the client must be reading to see the end.
	stopped := make(chan struct{})
	go func() { defer close(stopped); g.stop() }()
	if m := s.receive(); string(m.ID) != "9" || m.Error != nil {
		t.Errorf("%+v, want the answer of the request in hand", m)
	}
	c := s.closeOf()
	var hint struct {
		RetryAfterMS int64 `json:"retry_after_ms"`
	}
	if err := json.Unmarshal([]byte(c.Reason), &hint); c.Code != 4301 || err != nil || hint.RetryAfterMS <= 0 {
		t.Errorf("closed with %d %q, want 4301 and a hint", c.Code, c.Reason)
	}
	if body, err := io.ReadAll(stream); err != nil || !strings.HasPrefix(string(body), "retry: ") {
		t.Errorf("the stream ended with %q, %v; want a hint", body, err)
	}
	if p := <-poll; string(p.body) != `{"events":[],"next":1,"done":false}` {
		t.Errorf("poll: %d %s", p.status, p.body)
	}
	<-stopped
}

func (g *gateway) jobs() []*job.Job {
	g.t.Helper()
	jobs, _, err := g.Jobs.List(g.t.Context(), edgetest.Tenant, job.Filter{})
	if err != nil {
		g.t.Fatal(err)
	}
	return jobs
}

// TestInFlightIsBounded: past the bound reading pauses, and goes on.
func TestInFlightIsBounded(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.MaxInFlight = 2 })
	s := g.dial()
	began := time.Now()
	for id := range 2 {
		s.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"conversation.prompt","params":{"prompt":"x","session_id":"s%d","wait":1}}`, 10+id, id))
	}
	s.send(ping)
	order := []string{string(s.receive().ID), string(s.receive().ID), string(s.receive().ID)}
	if order[0] == "1" || time.Since(began) < 500*time.Millisecond {
		t.Errorf("answers %v after %s: the ping was served beside two requests", order, time.Since(began))
	}
}

// A subscription that ended gives its place back; a batch counts each.
func TestSubscriptionsAreCountedOneByOne(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.MaxSubscriptions = 2 })
	j := g.Submit(t, job.Submission{})
	s := g.dial()
	one := `{"jsonrpc":"2.0","id":1,"method":"job.subscribe","params":{"job_id":"` + j.ID + `","after":1}}`
	s.send("[" + one + "," + one + "," + one + "]")
	raw, err := s.read()
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	var sub struct {
		ID string `json:"subscription_id"`
	}
	for _, a := range decode[[]answer](t, raw) {
		if a.Error == nil {
			sub = decode[struct {
				ID string `json:"subscription_id"`
			}](t, a.Result)
			continue
		}
		if refused++; a.Error.Code != -32010 {
			t.Errorf("%+v, want -32010", a.Error)
		}
	}
	if refused != 1 {
		t.Errorf("%d of 3 refused, want 1", refused)
	}
	s.send(`{"jsonrpc":"2.0","id":2,"method":"job.unsubscribe","params":{"subscription_id":"` + sub.ID + `"}}`)
	for string(s.receive().ID) != "2" {
	}
	s.subscribe(j.ID, 1)
}

// A message of exactly the limit is served.
func TestSocketMessageAtTheLimit(t *testing.T) {
	t.Parallel()
	const limit = 2048
	g := start(t, func(c *edge.Config) { c.BodyLimitWS = limit })
	s := g.dial()
	s.send(ping + strings.Repeat(" ", limit-len(ping)))
	if m := s.receive(); string(m.ID) != "1" || m.Error != nil {
		t.Errorf("%+v", m)
	}
}

// An event comes because the edge was told of it: one that hears, and only looks
// for new events now and then, would not deliver it, because here that is once an
// hour.
func TestEventsComeWithoutPolling(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.PositionCheck = time.Hour })
	j := g.Submit(t, job.Submission{})
	h := g.Claim(t, j.ID)
	s := g.dial()
	s.subscribe(j.ID, 2)
	for range 50 {
		edgetest.Say(t, h, "item/started", `{}`)
		s.event()
	}
}
