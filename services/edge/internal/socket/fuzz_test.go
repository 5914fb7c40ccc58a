package socket_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"codexgateway.dev/services/edge/internal/admit"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/call"
	"codexgateway.dev/services/edge/internal/edgetest"
	"codexgateway.dev/services/edge/internal/methods"
	"codexgateway.dev/services/edge/internal/socket"
	"codexgateway.dev/services/edge/internal/streams"
)

// watched is a log that many goroutines write to.
type watched struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *watched) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.buf.Reset()
	return w.buf.String()
}

// FuzzFrames: whatever bytes come over an open WebSocket, its connection ends when
// the peer does, and nothing panics.
func FuzzFrames(f *testing.F) {
	masked := func(first byte, payload string) string {
		return string([]byte{first, 0x80 | byte(len(payload))}) + "\x00\x00\x00\x00" + payload
	}
	const ping = `{"jsonrpc":"2.0","id":1,"method":"system.ping"}`
	for _, seed := range []string{
		masked(0x81, ping), masked(0x01, "{") + masked(0x89, "x") + masked(0x80, "}"), masked(0x82, ping), masked(0x88, "\x03\xe8"), masked(0x88, "\x03"),
		masked(0xc1, ping), masked(0x83, ""), masked(0x81, "\xff"), "\x81\x05hello", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", "GET / HTTP/1.1\r\n\r\n",
		masked(0x81, "["+ping+","+ping+"]"), masked(0x81, `{"jsonrpc":"2.0","method":"x"}`),
	} {
		f.Add([]byte(seed))
	}
	log := &watched{}
	set := streams.New(0)
	srv := socket.New(&methods.Service{Now: time.Now, Version: "1", Draining: set.Draining()}, admit.New(nil, admit.Options{}), slog.New(slog.NewTextHandler(log, nil)), socket.Options{ReadLimit: 1 << 16})
	pipes := edgetest.NewPipes()
	info := &call.Info{Principal: auth.Principal{Tenant: edgetest.Tenant}} // without a scope: what needs a job is refused
	httpServer := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if stream, ok := set.Open(streams.Credential{KeyID: "key_test"}); ok {
			srv.Serve(w, r, info, stream)
		}
	})}
	served := make(chan error, 1)
	go func() { served <- httpServer.Serve(pipes) }()
	f.Cleanup(func() {
		if err := httpServer.Close(); err != nil {
			f.Error(err)
		}
		<-served
	})
	const hello = "GET /ws HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := pipes.Dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(io.Discard, conn)
		}()
		_, _ = conn.Write([]byte(hello))
		_, _ = conn.Write(data) // the gateway may have closed it
		_ = conn.Close()
		<-read
		if err := set.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if said := log.take(); strings.Contains(said, "panic") {
			t.Error(said)
		}
	})
}
