package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/edge/internal/edgetest"
)

var update = flag.Bool("update", false, "write the golden files")

// TestMain also says which promised answers no test made the gateway give, when
// all of them ran.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		all := true
		for _, name := range []string{"test.run", "test.skip", "test.list"} {
			all = all && flag.Lookup(name).Value.String() == ""
		}
		if c, err := theContract(); code == 0 && all && err == nil {
			if missing := c.unproduced(); len(missing) > 0 {
				fmt.Fprintf(os.Stderr, "documented answers that no test produces:\n\t%s\n", strings.Join(slices.Sorted(slices.Values(missing)), "\n\t"))
				code = 1
			}
		}
		os.Exit(code)
	}))
}

const (
	adminKey = "cgw_test_admin_0123456789"
	version  = "1.2.3"
)

// gateway is a running edge on an embedded platform.
type gateway struct {
	*edgetest.Env

	t      testing.TB
	url    string
	http   *http.Client
	key    string // what requests show
	svc    *edge.Service
	health *chassis.Health
	stop   func()
}

// start runs an edge; it stops with the test or by stop.
func start(tb testing.TB, change ...func(*edge.Config)) *gateway {
	tb.Helper()
	return startOn(tb, edgetest.Open(tb), change...)
}

// startOn runs one more edge on a platform.
func startOn(tb testing.TB, env *edgetest.Env, change ...func(*edge.Config)) *gateway {
	tb.Helper()
	cfg := edge.Config{
		Listen: chassis.ListenConfig{Addr: "127.0.0.1:0"}, AdminKey: secret.NewValue(adminKey),
		DrainTimeout: 5 * time.Second,
	}
	for _, c := range change {
		c(&cfg)
	}
	health := chassis.NewHealth(env.Log)
	svc, err := edge.New(cfg, edge.Deps{
		Jobs: env.Jobs, Docs: env.Platform.Docs, Bus: env.Platform.Bus, Secrets: env.Platform.Secrets, Blobs: env.Platform.Blobs, BlobHandler: env.Platform.BlobHandler,
		Health: health, Logger: env.Log, Now: time.Now, Version: version,
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	select {
	case <-svc.Ready():
	case err := <-done:
		tb.Fatalf("Run: %v", err)
	}
	transport := &http.Transport{}
	g := &gateway{
		Env: env, t: tb, url: "http://" + svc.Addr().String(), key: adminKey, svc: svc, health: health,
		http: &http.Client{
			Transport: &checked{transport, tb},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
	}
	stopped := false
	g.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Run: %v", err)
		}
		transport.CloseIdleConnections()
	}
	tb.Cleanup(g.stop)
	return g
}

// reply is a whole HTTP answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// request sends one request with the key and reads the answer; header
// values replace, empty ones remove.
func (g *gateway) request(method, path string, header map[string]string, body string) reply {
	g.t.Helper()
	r, b := g.stream(method, path, header, body)
	var err error
	if r.body, err = io.ReadAll(b); err != nil {
		g.t.Fatal(err)
	}
	return r
}

// stream is request for an answer that is read bit by bit.
func (g *gateway) stream(method, path string, header map[string]string, body string) (reply, *bufio.Reader) {
	g.t.Helper()
	var r io.Reader = http.NoBody
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, r)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("X-API-Key", g.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
		if v == "" {
			req.Header.Del(k)
			continue
		}
		req.Header.Set(k, v)
	}
	resp, err := g.http.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = resp.Body.Close() })
	return reply{status: resp.StatusCode, header: resp.Header}, bufio.NewReader(resp.Body)
}

// answer is a JSON-RPC answer.
type answer struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *rpcError       `json:"error"`
}

type rpcError struct {
	Code    int            `json:"code"`
	Message string         `json:"message"`
	Data    map[string]any `json:"data"`
}

// rpc calls a method over HTTP.
func (g *gateway) rpc(method string, params any) answer {
	g.t.Helper()
	body, err := jsonrpc.EncodeCall(jsonrpc.IntID(1), method, params)
	if err != nil {
		g.t.Fatal(err)
	}
	return decode[answer](g.t, g.request(http.MethodPost, "/jsonrpc", nil, string(body)).body)
}

// call calls a method and decodes its result.
func call[R any](g *gateway, method string, params any) R {
	g.t.Helper()
	a := g.rpc(method, params)
	if a.Error != nil {
		g.t.Fatalf("%s: %+v", method, a.Error)
	}
	return decode[R](g.t, a.Result)
}

func decode[T any](tb testing.TB, raw []byte) T {
	tb.Helper()
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		tb.Fatalf("decode %s: %v", raw, err)
	}
	return v
}

// socket is a WebSocket client.
type socket struct {
	t  testing.TB
	ws *websocket.Conn
	// called is what frames called.
	called calls
}

func (g *gateway) dial() *socket {
	g.t.Helper()
	ws, _, err := websocket.Dial(g.t.Context(), g.url+"/ws", &websocket.DialOptions{ //nolint:bodyclose // nil after an upgrade
		HTTPClient: g.http, HTTPHeader: http.Header{"X-Api-Key": {g.key}},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	ws.SetReadLimit(32 << 20)
	g.t.Cleanup(func() { _ = ws.CloseNow() })
	return &socket{t: g.t, ws: ws}
}

func (s *socket) send(frame string) {
	s.t.Helper()
	if s.called == nil {
		s.called = calls{}
	}
	s.called.add([]byte(frame))
	if err := s.ws.Write(s.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		s.t.Fatal(err)
	}
}

// read reads a frame, which must be as the documents say.
func (s *socket) read() ([]byte, error) {
	s.t.Helper()
	_, b, err := s.ws.Read(s.t.Context())
	if err != nil {
		return nil, err
	}
	if err := promises(s.t).socketFrame(b, s.called); err != nil {
		s.t.Errorf("a frame is not as docs/reference says: %v", err)
	}
	return b, nil
}

// message is anything a server sends.
type message struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *rpcError       `json:"error"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

func (s *socket) receive() message {
	s.t.Helper()
	b, err := s.read()
	if err != nil {
		s.t.Fatal(err)
	}
	return decode[message](s.t, b)
}

// subscribe subscribes and returns the subscription's id.
func (s *socket) subscribe(jobID string, after int64) string {
	s.t.Helper()
	frame, err := jsonrpc.EncodeCall(jsonrpc.IntID(7), "job.subscribe", map[string]any{"job_id": jobID, "after": after})
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(string(frame))
	m := s.receive()
	if m.Error != nil {
		s.t.Fatalf("subscribe: %+v", m.Error)
	}
	return decode[struct {
		SubscriptionID string `json:"subscription_id"`
	}](s.t, m.Result).SubscriptionID
}

type event struct {
	SubscriptionID string `json:"subscription_id"`
	JobID          string `json:"job_id"`
	Seq            int64  `json:"seq"`
	Type           string `json:"type"`
	Data           struct {
		Method string `json:"method"`
	} `json:"data"`
}

// event receives one job.event.
func (s *socket) event() event {
	s.t.Helper()
	m := s.receive()
	if m.Method != "job.event" {
		s.t.Fatalf("received %+v, want job.event", m)
	}
	return decode[event](s.t, m.Params)
}

// volatile is what differs from run to run in golden files.
var volatile = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`\b(job|conv|req|sub|evt|clm)_[0-9a-z]{26}`), "${1}_ID"},
	{regexp.MustCompile(`\bkey_[0-9a-z]{12}`), "key_ID"},
	{regexp.MustCompile(`cgw_live_[0-9a-z]{12}_[0-9a-z]{40}`), "cgw_live_KEY"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`), "TIME"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "HOST"},
	{regexp.MustCompile(`"sha256": "[0-9a-f]{64}"`), `"sha256": "SHA256"`},
	{regexp.MustCompile(`"size": \d+`), `"size": N`},
	{regexp.MustCompile(`/blobs\?[^"]+`), "/blobs?SIGNED"},
}

// golden compares JSON with a file, ids and times aside.
func golden(tb testing.TB, name string, raw []byte) {
	tb.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, raw, "", "  "); err != nil {
		tb.Fatalf("%s: %v", raw, err)
	}
	got := pretty.String() + "\n"
	for _, v := range volatile {
		got = v.re.ReplaceAllString(got, v.to)
	}
	file := filepath.Join("testdata", name+".golden.json")
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			tb.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		tb.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
