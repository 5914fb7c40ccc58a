package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/ticket"
	"codexgateway.dev/services/edge/internal/admit"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/edgetest"
	"codexgateway.dev/services/edge/internal/httpapi"
	"codexgateway.dev/services/edge/internal/hub"
	"codexgateway.dev/services/edge/internal/methods"
	"codexgateway.dev/services/edge/internal/socket"
	"codexgateway.dev/services/edge/internal/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keyID is whose requests they are.
const keyID = "key_test"

// open is an authenticator that lets everybody in, or does what a test wants.
type open struct{ do func() error }

func (o open) Authenticate(context.Context, *http.Request) (auth.Principal, error) {
	if o.do != nil {
		return auth.Principal{}, o.do()
	}
	return auth.Principal{Tenant: edgetest.Tenant, KeyID: keyID, Scopes: apikey.DefaultScopes()}, nil
}

// bench is the routes on in-memory connections, in a bubble.
type bench struct {
	*edgetest.Env

	t       *testing.T
	pipes   *edgetest.Pipes
	logs    *bytes.Buffer
	streams *streams.Set
}

func start(t *testing.T, a auth.Authenticator) *bench {
	t.Helper()
	return startHub(t, a, hub.Options{})
}

// startHub is start with a hub to order.
func startHub(t *testing.T, a auth.Authenticator, hubOpt hub.Options) *bench {
	t.Helper()
	env := edgetest.Open(t)
	b := &bench{Env: env, t: t, pipes: edgetest.NewPipes(), logs: &bytes.Buffer{}, streams: streams.New(0)}
	log := slog.New(slog.NewTextHandler(b.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h := hub.New(env.Jobs.Events(), env.Platform.Bus, env.Log, hubOpt)
	ctx, cancel := context.WithCancel(t.Context())
	hubDone := make(chan error, 1)
	go func() { hubDone <- h.Run(ctx) }()
	handler, err := httpapi.Handler(deps(env, h, b.streams, a, log), httpapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(b.pipes) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-served
		cancel()
		if err := <-hubDone; err != nil {
			t.Error(err)
		}
	})
	return b
}

// deps are what the routes need, with no limits.
func deps(env *edgetest.Env, h *hub.Hub, set *streams.Set, a auth.Authenticator, log *slog.Logger) httpapi.Deps {
	gate := admit.New(nil, admit.Options{})
	svc := &methods.Service{
		Jobs: env.Jobs, Hub: h, Blobs: env.Platform.Blobs, Now: time.Now, Version: "1", Draining: set.Draining(),
	}
	return httpapi.Deps{
		Methods: svc, Sockets: socket.New(svc, gate, log, socket.Options{}), Hub: h, Streams: set, Auth: a, Gate: gate,
		Tickets: auth.NewTickets(ticket.NewStore(env.Platform.Docs, time.Now), nil),
		Health:  chassis.NewHealth(env.Log), Logger: log,
	}
}

// dial opens a connection and sends the head of a request.
func (b *bench) dial(head string) (net.Conn, *bufio.Reader) {
	b.t.Helper()
	conn, err := b.pipes.Dial(b.t.Context(), "", "")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, head+"\r\n\r\n"); err != nil {
		b.t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

func pass(d time.Duration) { <-time.After(d) }

func status(t *testing.T, r *bufio.Reader) int {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

const post = "POST /jsonrpc HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\n"

func TestBodyMustKeepUp(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		pieces int // of 1 KiB, one every step
		step   time.Duration
		want   int
	}{
		{"a slow start is forgiven", 4, 3 * time.Second, http.StatusOK},
		{"2 KiB/s for a minute", 120, 500 * time.Millisecond, http.StatusOK},
		{"half a KiB/s", 120, 2 * time.Second, http.StatusRequestTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, open{})
				ping := `{"jsonrpc":"2.0","id":1,"method":"system.ping"}`
				conn, r := b.dial(fmt.Sprintf("%sContent-Length: %d", post, tc.pieces<<10+len(ping)))
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					piece := strings.Repeat(" ", 1<<10)
					for range tc.pieces {
						if _, err := io.WriteString(conn, piece); err != nil {
							return
						}
						pass(tc.step)
					}
					_, _ = io.WriteString(conn, ping)
				}()
				if got := status(t, r); got != tc.want {
					t.Errorf("status %d, want %d", got, tc.want)
				}
				_ = conn.Close()
				<-sent
			})
		})
	}
}

func TestBodyThatStopsIsCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, open{do: func() error { return errors.New("no") }})
		// The body is not even read by the route: the connection ends all the same.
		_, r := b.dial(post + "Content-Length: 1000")
		began := time.Now()
		if got := status(t, r); got != http.StatusInternalServerError {
			t.Errorf("status %d", got)
		}
		_, _ = io.Copy(io.Discard, r) // until the connection ends, in whatever way
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("the connection was held for %s", took)
		}
	})
}

func TestStreamHeartbeatAndSlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, open{})
		j := b.Submit(t, job.Submission{})
		_, r := b.dial("GET /v1/jobs/" + j.ID + "/events?after=1 HTTP/1.1\r\nHost: gw\r\nAccept: text/event-stream")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body := bufio.NewReader(resp.Body)
		began := time.Now()
		if line, err := body.ReadString('\n'); err != nil || line != ": heartbeat\n" {
			t.Errorf("%q, %v; want a heartbeat", line, err)
		}
		if took := time.Since(began); took != 15*time.Second {
			t.Errorf("heartbeat after %s, want 15 s", took)
		}
		pass(time.Minute) // not reading: the next heartbeat gets stuck and the stream is cut
		if _, err := io.Copy(io.Discard, body); err == nil {
			t.Error("the stream ended in order, want it cut")
		}
	})
}

func TestPanicCostsOneRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, open{do: func() error { panic("secret of the panic") }})
		for range 2 { // on the same connection
			_, r := b.dial(post + "Content-Length: 0")
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err := errors.Join(err, resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			var p map[string]any
			if err := json.Unmarshal(body, &p); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != http.StatusInternalServerError || p["code"] != "internal" || p["request_id"] == "" {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if strings.Contains(string(body), "secret") {
				t.Errorf("the answer shows the panic: %s", body)
			}
		}
	})
}

func TestFailureLeaksNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, open{do: func() error { return errors.New("secret cause") }})
		_, r := b.dial("GET /v1/jobs/x/events HTTP/1.1\r\nHost: gw\r\nX-Api-Key: secret-key")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusInternalServerError || strings.Contains(string(body), "secret") {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		synctest.Wait()
		if strings.Contains(b.logs.String(), "secret-key") {
			t.Error("the log has the key")
		}
		if !strings.Contains(b.logs.String(), "secret cause") {
			t.Error("the log lacks the cause")
		}
	})
}
