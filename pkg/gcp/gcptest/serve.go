package gcptest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// listen opens addr, or a free loopback port when addr is empty. Nothing but
// the loopback interface is ever listened on.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("gcptest: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("gcptest: %s is not a loopback address", addr)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("gcptest: %w", err)
	}
	return ln, nil
}

// webServer is an HTTP server that runs until it is stopped.
type webServer struct {
	*faults
	server *http.Server
	done   chan struct{}
}

func serveHTTP(ln net.Listener, h http.Handler, f *faults) *webServer {
	s := &webServer{
		faults: f, done: make(chan struct{}),
		server: &http.Server{Handler: f.before(h), ReadHeaderTimeout: 10 * time.Second},
	}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(ln) // always an error; Stop is its reason
	}()
	return s
}

// Fail makes requests to come fail.
func (s *webServer) Fail(f Fault) { s.add(f) }

// Requests is how many requests of an HTTP method have come so far.
func (s *webServer) Requests(method string) int { return s.requests(method) }

// Stop ends the server and its connections, and waits for both. Stopping twice
// is fine.
func (s *webServer) Stop() error {
	s.mu.Lock()
	select {
	case <-s.stopped:
	default:
		close(s.stopped)
	}
	s.mu.Unlock()
	err := s.server.Close()
	<-s.done
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}
