package chassis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Limits of every HTTP server. Bodies and responses have none here: uploads and
// streams last, and the routes bound them by progress.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 64 << 10
)

// ListenConfig is where a service listens. The port of the platform (Cloud Run)
// counts unless an address is given.
type ListenConfig struct {
	Addr string `env:"CODEXGW_ADDR" doc:"The address to listen on; 127.0.0.1:8080 if neither this nor PORT is set."`
	Port uint16 `env:"PORT" min:"1" doc:"The port to listen on, on all interfaces, as Cloud Run gives it."`
}

// Address is what to pass to [Listen].
func (c ListenConfig) Address() string {
	switch {
	case c.Addr != "":
		return c.Addr
	case c.Port != 0:
		return fmt.Sprintf(":%d", c.Port)
	default:
		return "127.0.0.1:8080"
	}
}

// Listen opens a TCP listener: before anything is ready, so that a taken port
// fails the start and no connection is refused after it.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return ln, nil
}

// HTTPServer is the component that serves h on ln. Stopping closes the
// listener, then waits for requests in hand; those that outlast the wait see
// their context end with the group's cause, and their connection is closed.
// Hijacked connections (WebSockets) are their owner's to end.
func HTTPServer(name string, ln net.Listener, h http.Handler, log *slog.Logger) Component {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	var stopping atomic.Bool
	return Component{
		Name: name,
		Run: func(ctx context.Context) error {
			// Requests have a context of their own that is cancelled before their
			// connection is closed: the close cancels them too, without a cause.
			requests, end := context.WithCancelCause(context.WithoutCancel(ctx))
			defer end(nil)
			srv.BaseContext = func(net.Listener) context.Context { return requests }
			served := make(chan error, 1)
			go func() { served <- srv.Serve(ln) }()
			select {
			case err := <-served:
				if !stopping.Load() {
					return errors.Join(fmt.Errorf("serve: %w", err), srv.Close())
				}
				<-ctx.Done() // requests in hand still run
				served <- nil
			case <-ctx.Done():
			}
			end(context.Cause(ctx))
			err := srv.Close()
			<-served
			if err != nil && !errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("close: %w", err)
			}
			return nil
		},
		Quiesce: func(context.Context) error {
			stopping.Store(true)
			srv.SetKeepAlivesEnabled(false)
			if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("close listener: %w", err)
			}
			return nil
		},
		Drain: func(ctx context.Context) error {
			if err := srv.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("wait for requests: %w", err)
			}
			return nil
		},
	}
}
