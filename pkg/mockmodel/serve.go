package mockmodel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// Timeouts of the listener. There is no write timeout: a stream may be long.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 60 * time.Second
)

// errStopped is the cause that ends requests still running at [Running.Stop].
var errStopped = errors.New("mockmodel: stopped")

// Running is a mock model that listens.
type Running struct {
	// Server is the handler, for [Server.Requests].
	Server *Server

	base   string
	http   *http.Server
	cancel context.CancelCauseFunc
	// done is closed when Serve returned err.
	done chan struct{}
	err  error
}

// Start listens on Options.Addr and serves a mock model there until
// [Running.Stop]. Ending ctx ends the requests in flight, not the listener.
func Start(ctx context.Context, opt Options) (*Running, error) {
	var lc net.ListenConfig
	if opt.Addr == "" {
		opt.Addr = "127.0.0.1:0"
	}
	ln, err := lc.Listen(ctx, "tcp", opt.Addr)
	if err != nil {
		return nil, fmt.Errorf("mockmodel: listen: %w", err)
	}
	requests, cancel := context.WithCancelCause(ctx)
	s := New(opt)
	r := &Running{
		Server: s,
		base:   "http://" + ln.Addr().String() + strings.TrimSuffix(Path, "/responses"),
		http: &http.Server{
			Handler: s, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
			BaseContext: func(net.Listener) context.Context { return requests },
		},
		cancel: cancel,
		done:   make(chan struct{}),
	}
	go func() {
		defer close(r.done)
		r.err = r.http.Serve(ln)
	}()
	return r, nil
}

// BaseURL is what CODEXGW_MODEL_BASE_URL is set to; it ends in /v1.
func (r *Running) BaseURL() string { return r.base }

// Stop ends the requests in flight, closes the listener and waits for both, at
// most until ctx ends; what is left then is cut off. It is called once.
func (r *Running) Stop(ctx context.Context) error {
	r.cancel(errStopped)
	err := r.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, r.http.Close())
	}
	<-r.done
	if !errors.Is(r.err, http.ErrServerClosed) {
		err = errors.Join(err, r.err)
	}
	if err != nil {
		return fmt.Errorf("mockmodel: stop: %w", err)
	}
	return nil
}
