package socket_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge/internal/admit"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/call"
	"codexgateway.dev/services/edge/internal/edgetest"
	"codexgateway.dev/services/edge/internal/hub"
	"codexgateway.dev/services/edge/internal/methods"
	"codexgateway.dev/services/edge/internal/socket"
	"codexgateway.dev/services/edge/internal/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a WebSocket server in a bubble.
type bench struct {
	*edgetest.Env

	t      *testing.T
	open   *streams.Set
	client *http.Client
}

// open runs a server in memory; it is called inside a bubble.
func open(t *testing.T) *bench {
	t.Helper()
	l := edgetest.NewPipes()
	return openOn(t, socket.Options{}, l, l.Dial)
}

// openTCP runs a server on a real connection.
func openTCP(t *testing.T, opt socket.Options) *bench {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return openOn(t, opt, l, func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	})
}

type dialer = func(context.Context, string, string) (net.Conn, error)

// openOn runs a server on a listener.
func openOn(t *testing.T, opt socket.Options, l net.Listener, dial dialer) *bench {
	t.Helper()
	return openHub(t, opt, hub.Options{}, l, dial)
}

// openHub is openOn with a hub to order.
func openHub(t *testing.T, opt socket.Options, hubOpt hub.Options, l net.Listener, dial dialer) *bench {
	t.Helper()
	env := edgetest.Open(t)
	h := hub.New(env.Jobs.Events(), env.Platform.Bus, env.Log, hubOpt)
	ctx, cancel := context.WithCancel(t.Context())
	hubDone := make(chan error, 1)
	go func() { hubDone <- h.Run(ctx) }()
	b := &bench{Env: env, t: t, open: streams.New(0)}
	srv := socket.New(&methods.Service{
		Jobs: env.Jobs, Hub: h, Blobs: env.Platform.Blobs, Now: time.Now, Version: "1", Draining: b.open.Draining(),
	}, admit.New(nil, admit.Options{}), env.Log, opt)
	info := &call.Info{Principal: auth.Principal{Tenant: edgetest.Tenant, Scopes: apikey.DefaultScopes()}, BaseURL: "http://gw"}
	httpServer := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stream, _ := b.open.Open(streams.Credential{KeyID: "key_test"})
		srv.Serve(w, r, info, stream)
	})}
	ran := make(chan error, 1)
	go func() { ran <- srv.Run(ctx) }()
	served := make(chan error, 1)
	go func() { served <- httpServer.Serve(l) }()
	b.client = &http.Client{Transport: &http.Transport{DialContext: dial}}
	t.Cleanup(func() {
		cancel()
		if err := httpServer.Close(); err != nil {
			t.Error(err)
		}
		<-served
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if err := b.open.Wait(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-hubDone; err != nil {
			t.Error(err)
		}
	})
	return b
}

// dial opens a WebSocket.
func (b *bench) dial() *websocket.Conn {
	b.t.Helper()
	ws, _, err := websocket.Dial(b.t.Context(), "http://gw/", &websocket.DialOptions{HTTPClient: b.client}) //nolint:bodyclose // nil after an upgrade
	if err != nil {
		b.t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	b.t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

// running is a running job whose log has queued and started.
func (b *bench) running() (string, *job.Held) {
	j := b.Submit(b.t, job.Submission{})
	return j.ID, b.Claim(b.t, j.ID)
}

func write(t *testing.T, ws *websocket.Conn, frame string) {
	t.Helper()
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	_, b, err := ws.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// subscribe subscribes and reads the answer.
func subscribe(t *testing.T, ws *websocket.Conn, jobID string) {
	t.Helper()
	write(t, ws, `{"jsonrpc":"2.0","id":1,"method":"job.subscribe","params":{"job_id":"`+jobID+`","after":2}}`)
	if got := read(t, ws); !strings.Contains(got, `"subscription_id"`) {
		t.Fatalf("subscribe: %s", got)
	}
}

// pass lets time go by.
func pass(d time.Duration) { <-time.After(d) }

// closeOf reads until the connection ends; -1: it was cut.
func closeOf(ws *websocket.Conn) websocket.StatusCode {
	for {
		if _, _, err := ws.Read(context.Background()); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

func TestSlowPeer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		asleep time.Duration
		want   websocket.StatusCode
	}{
		{"that reads in time goes on", 9 * time.Second, 0},
		{"that reads late is told why", 12 * time.Second, 4308},
		{"that reads too late is cut", time.Minute, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := open(t)
				jobID, h := b.running()
				slow, fast := b.dial(), b.dial()
				subscribe(t, slow, jobID)
				subscribe(t, fast, jobID)
				for range 3 {
					edgetest.Say(t, h, "item/started", `{}`)
				}
				for range 3 {
					read(t, fast) // others do not notice
				}
				synctest.Wait()
				pass(tc.asleep)
				if tc.want != 0 {
					if got := closeOf(slow); got != tc.want {
						t.Errorf("closed with %d, want %d", got, tc.want)
					}
					return
				}
				for range 3 {
					read(t, slow)
				}
			})
		})
	}
}

// A large message has the time its size needs.
func TestLargeMessageHasMoreTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		jobID, h := b.running()
		ws := b.dial()
		subscribe(t, ws, jobID)
		edgetest.Say(t, h, "item/completed", `{"text":"`+strings.Repeat("x", 640<<10)+`"}`)
		synctest.Wait()
		pass(18 * time.Second)
		if got := read(t, ws); len(got) < 640<<10 {
			t.Errorf("%d bytes", len(got))
		}
	})
}

func TestSilentPeerIsCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		b.dial() // never reads: no pong
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		synctest.Wait()
		if err := b.open.Wait(ctx); err != nil {
			t.Fatal("the connection is still open")
		}
		if took := time.Since(began); took < 25*time.Second || took > 35*time.Second {
			t.Errorf("cut after %s, want a ping and no pong: 25 to 35 s", took)
		}
	})
}

// A peer that only reads answers pings and stays for as long as it likes.
func TestIdlePeerStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		ws := b.dial()
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			_, _, err := ws.Read(ctx)
			ended <- err
		}()
		pass(time.Hour)
		select {
		case err := <-ended:
			t.Errorf("ended: %v", err)
		default:
		}
		cancel()
		<-ended
	})
}

// While all its slots are taken the gateway does not read a peer, so it does
// not see its pongs either. In memory nothing is buffered and the peer could
// not even write them, so this one runs on a real connection.
func TestBusyPeerIsNotCut(t *testing.T) {
	t.Parallel()
	b := openTCP(t, socket.Options{InFlight: 1, PingEvery: 200 * time.Millisecond, PongWait: 2 * time.Second})
	ws := b.dial()
	for _, session := range []string{"a", "b"} {
		write(t, ws, `{"jsonrpc":"2.0","id":"`+session+`","method":"conversation.prompt","params":{"prompt":"x","session_id":"`+session+`","wait":3}}`)
	}
	write(t, ws, `{"jsonrpc":"2.0","id":"ping","method":"system.ping"}`)
	for _, id := range []string{`"a"`, `"b"`, `"ping"`} {
		if got := read(t, ws); !strings.Contains(got, `"id":`+id) {
			t.Errorf("got %s, want the answer to %s", got, id)
		}
	}
}

func TestDrainWaitsForRequestsButNotForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		jobID, h := b.running()
		ws := b.dial()
		subscribe(t, ws, jobID)
		edgetest.Say(t, h, "item/started", `{}`)
		b.open.Drain()
		synctest.Wait()
		if got := closeOf(ws); got != 4301 {
			t.Errorf("closed with %d, want 4301", got)
		}
		if err := b.open.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		late, _, err := websocket.Dial(t.Context(), "http://gw/", &websocket.DialOptions{HTTPClient: b.client}) //nolint:bodyclose // nil after an upgrade
		if err != nil {
			t.Fatal(err)
		}
		if got := closeOf(late); got != 4301 {
			t.Errorf("a late connection closed with %d, want 4301", got)
		}
	})
}

func TestPeerThatIgnoresTheCloseIsCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		b.dial() // does not read
		began := time.Now()
		b.open.Drain()
		synctest.Wait()
		if err := b.open.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// The store goes away under a subscription: the peer is told to come back.
func TestStoreLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		jobID, _ := b.running()
		ws := b.dial()
		subscribe(t, ws, jobID)
		synctest.Wait()
		if err := b.Platform.Docs.Close(); err != nil {
			t.Fatal(err)
		}
		write(t, ws, `{"jsonrpc":"2.0","id":1,"method":"job.get","params":{"job_id":"`+jobID+`"}}`)
		if got := read(t, ws); !strings.Contains(got, "-32001") {
			t.Errorf("job.get: %s, want overloaded", got)
		}
		// An announcement without events makes the hub read the log.
		ev, err := events.New(events.Head{ID: "evt", Source: "/test", Subject: jobID, Time: time.Now()},
			&events.JobProgressed{JobID: jobID, FirstSeq: 3, LastSeq: 3})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Platform.Bus.Publish(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
		if got := closeOf(ws); got != 4310 {
			t.Errorf("closed with %d, want 4310", got)
		}
	})
}
