package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/pkg/jsonrpc/jsonrpctest"
	"codexgateway.dev/services/edge/internal/edgetest"
	"codexgateway.dev/services/edge/internal/httpapi"
	"codexgateway.dev/services/edge/internal/hub"
	"codexgateway.dev/services/edge/internal/streams"
)

// serveWith runs the routes, with more methods on both transports, and returns
// their URL.
func serveWith(t *testing.T, more func(*jsonrpc.Mux)) string {
	t.Helper()
	env, set := edgetest.Open(t), streams.New(0)
	h := hub.New(env.Jobs.Events(), env.Platform.Bus, env.Log, hub.Options{})
	d := deps(env, h, set, open{}, env.Log)
	handler, err := httpapi.HandlerWith(d, httpapi.Options{}, more)
	if err != nil {
		t.Fatal(err)
	}
	more(d.Sockets.Mux())
	srv := httptest.NewServer(handler)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Sockets.Run(ctx) }()
	t.Cleanup(func() {
		srv.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return srv.URL
}

// overHTTP posts frames.
func overHTTP(url string, client *http.Client) jsonrpctest.Exchange {
	return func(t *testing.T, frame []byte) []byte {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/jsonrpc", bytes.NewReader(frame))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case resp.StatusCode == http.StatusNoContent && len(body) == 0:
			return nil
		case resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" || len(body) == 0:
			t.Errorf("%d %s %s", resp.StatusCode, resp.Header.Get("Content-Type"), body)
		}
		return body
	}
}

// overSocket sends frames. That nothing comes back is seen by what comes next:
// the answer to a call that the transcripts do not make.
func overSocket(url string, ws *websocket.Conn) jsonrpctest.Exchange {
	return func(t *testing.T, frame []byte) []byte {
		t.Helper()
		if !utf8.Valid(frame) { // which costs the connection
			broken := dial(t, url)
			if err := broken.Write(t.Context(), websocket.MessageText, frame); err != nil {
				t.Fatal(err)
			}
			if _, got, err := broken.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusInvalidFramePayloadData {
				t.Errorf("text that is no UTF-8: %s, %v", got, err)
			}
			return []byte(jsonrpctest.Unsayable)
		}
		marker := []byte(`{"jsonrpc":"2.0","id":"marker","result":"pong"}`)
		for _, out := range [][]byte{frame, []byte(`{"jsonrpc":"2.0","id":"marker","method":"marker"}`)} {
			if err := ws.Write(t.Context(), websocket.MessageText, out); err != nil {
				t.Fatal(err)
			}
		}
		// Frames are served at once: the answers come in any order, and an
		// answer that should not be there comes in the next exchange at the latest.
		var answer []byte
		for range 2 {
			_, got, err := ws.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, marker) {
				answer = got
				continue
			}
			if answer != nil || quiet(frame) {
				break
			}
		}
		return answer
	}
}

// quiet reports whether a frame holds nothing but notifications.
func quiet(frame []byte) bool {
	f, err := jsonrpc.Decode(frame, jsonrpc.Limits{})
	if err != nil {
		return false
	}
	for i := range f.Requests {
		if !f.Requests[i].Notification() {
			return false
		}
	}
	return true
}

// TestTranscripts holds both transports to the transcripts of the bare table:
// every example of the specification, and the gateway's own rules.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	url := serveWith(t, func(m *jsonrpc.Mux) {
		jsonrpctest.Register(m)
		jsonrpc.Register(m, "marker", jsonrpc.MethodDoc{}, func(context.Context, struct{}) (string, error) { return "pong", nil })
	})
	t.Run("HTTP", func(t *testing.T) {
		t.Parallel()
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		jsonrpctest.Run(t, overHTTP(url, client))
	})
	t.Run("WebSocket", func(t *testing.T) {
		t.Parallel()
		jsonrpctest.Run(t, overSocket(url, dial(t, url)))
	})
}

func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	transport := &http.Transport{}
	ws, _, err := websocket.Dial(t.Context(), url+"/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}}) //nolint:bodyclose // nil after an upgrade
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(1 << 20)
	t.Cleanup(func() {
		_ = ws.CloseNow()
		transport.CloseIdleConnections()
	})
	return ws
}

// meeting lets calls go on in groups of the size that shall run at once, and
// counts how many do. With fewer at once the group never meets.
type meeting struct {
	mu            sync.Mutex
	running, most int
	here          int
	open          chan struct{}
}

func (m *meeting) attend(ctx context.Context, _ struct{}) (any, error) {
	m.mu.Lock()
	m.running++
	m.most = max(m.most, m.running)
	if m.here++; m.here == jsonrpc.DefaultParallel {
		close(m.open)
		m.here, m.open = 0, make(chan struct{})
		m.running--
		m.mu.Unlock()
		return nil, nil
	}
	wait := m.open
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.running--
		m.mu.Unlock()
	}()
	select {
	case <-wait:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// TestBatchesRunAtOnceAndBounded: the members of a batch meet in groups of
// eight, and never are there more, whatever carries the batch.
func TestBatchesRunAtOnceAndBounded(t *testing.T) {
	t.Parallel()
	m := &meeting{open: make(chan struct{})}
	url := serveWith(t, func(mux *jsonrpc.Mux) { jsonrpc.Register(mux, "meet", jsonrpc.MethodDoc{}, m.attend) })
	calls := make([]string, 5*jsonrpc.DefaultParallel)
	for i := range calls {
		calls[i] = fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"meet"}`, i)
	}
	batch := []byte("[" + strings.Join(calls, ",") + "]")
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ws := dial(t, url)
	for name, send := range map[string]jsonrpctest.Exchange{
		"HTTP": overHTTP(url, client),
		"WebSocket": func(t *testing.T, frame []byte) []byte {
			t.Helper()
			if err := ws.Write(t.Context(), websocket.MessageText, frame); err != nil {
				t.Fatal(err)
			}
			_, answer, err := ws.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return answer
		},
	} {
		answers, err := jsonrpc.DecodeMessages(send(t, batch))
		if err != nil || len(answers) != len(calls) {
			t.Fatalf("%s: %d answers, %v", name, len(answers), err)
		}
		for i, a := range answers {
			if a.Response == nil || a.Response.Error != nil || a.Response.ID != jsonrpc.IntID(int64(i)) {
				t.Errorf("%s: answer %d is %+v", name, i, a)
			}
		}
		if m.most != jsonrpc.DefaultParallel {
			t.Errorf("%s: %d ran at once, want %d", name, m.most, jsonrpc.DefaultParallel)
		}
		m.most = 0
	}
}
