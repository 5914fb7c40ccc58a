package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/apiv1"
)

// ask sends a ping to an edge with a key and returns the status and its
// Retry-After.
func ask(t *testing.T, url, key string) (status int, retry string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/jsonrpc", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"system.ping"}`))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	req.Header.Set("X-Api-Key", key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Timeout: 60 * time.Second}).Do(req)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

// wantAnswer asks an edge with a key until it can say; it says 503 while its store
// is too busy.
func wantAnswer(t *testing.T, url, key, what string, want int) {
	t.Helper()
	status := 0
	eventually(t, what, func() bool {
		status, _ = ask(t, url, key)
		return status != http.StatusServiceUnavailable
	})
	if status != want {
		t.Errorf("%s: status %d, want %d", what, status, want)
	}
}

// TestWhatAllEdgesHoldTogether: on Google Cloud two processes share nothing but
// the store; what one of them promised holds at the other, and after both were
// started anew.
func TestWhatAllEdgesHoldTogether(t *testing.T) {
	t.Parallel()
	g := start(t, options{wide: true})
	last := g.urls[len(g.urls)-1]
	create := func(p apiv1.KeyCreateParams) apiv1.NewKey {
		t.Helper()
		p.Tenant = "edges-e2e"
		k, err := g.CreateKey(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}

	const limit, calls = 30, 120
	limited := create(apiv1.KeyCreateParams{RateLimit: limit})
	began := time.Now()
	var (
		running  sync.WaitGroup
		mu       sync.Mutex
		admitted int
	)
	for i := range calls {
		running.Go(func() {
			status, retry := ask(t, g.urls[i%len(g.urls)], limited.Secret)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case status == http.StatusOK:
				admitted++
			case status == http.StatusServiceUnavailable && retry != "": // the store was too busy to count it
			case status != http.StatusTooManyRequests || retry == "":
				t.Errorf("status %d, Retry-After %q", status, retry)
			}
		})
	}
	running.Wait()
	switch {
	case admitted == 0:
		t.Error("no call was admitted")
	case admitted > limit && time.Since(began) < time.Minute:
		t.Errorf("%d of %d calls were admitted in a minute, at most %d may be", admitted, calls, limit)
	}

	kept, revoked := create(apiv1.KeyCreateParams{}), create(apiv1.KeyCreateParams{})
	g.ticketOpensOneSocket(t, last, kept.Secret)
	if _, err := g.RevokeKey(t.Context(), apiv1.KeyRef{KeyID: revoked.KeyID, Tenant: "edges-e2e"}); err != nil {
		t.Fatal(err)
	}
	g.terminate(t)
	g.up(t)
	for _, url := range g.urls {
		wantAnswer(t, url, kept.Secret, "a key after the restart", http.StatusOK)
		wantAnswer(t, url, revoked.Secret, "a revoked key after the restart", http.StatusUnauthorized)
	}
}

// ticketOpensOneSocket makes a ticket at the first edge and spends it at another.
func (g *gateway) ticketOpensOneSocket(t *testing.T, at, key string) {
	t.Helper()
	r := g.send(t, http.MethodPost, "/v1/tickets", "", map[string]string{"X-Api-Key": key})
	var made apiv1.Ticket
	if err := json.Unmarshal([]byte(r.body), &made); err != nil || r.status != http.StatusCreated {
		t.Fatalf("%d %v %s", r.status, err, tail(r.body, 200))
	}
	open := func() error {
		ws, _, err := websocket.Dial(t.Context(), at+"/ws", &websocket.DialOptions{ //nolint:bodyclose // nil after an upgrade, and its body is buffered otherwise
			Subprotocols: []string{"codexgw.v1", "codexgw.ticket." + made.Ticket},
		})
		if err == nil {
			_ = ws.CloseNow()
		}
		return err
	}
	if err := open(); err != nil {
		t.Errorf("the ticket: %v", err)
	}
	if open() == nil {
		t.Error("the ticket opened a second WebSocket")
	}
}
