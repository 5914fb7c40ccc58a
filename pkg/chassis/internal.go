package chassis

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
)

// serveInternal opens the internal listener, if there is an address for one. It
// outlives the service, so that the drain can be watched.
func (rt *Runtime) serveInternal(ctx context.Context, addr string, scrape http.Handler) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	rt.Internal.Handle("GET /health", rt.Health.Live())
	rt.Internal.Handle("GET /ready", rt.Health.Explain())
	if scrape != nil {
		rt.Internal.Handle("GET /metrics", scrape)
	}
	rt.Internal.HandleFunc("GET /debug/pprof/", pprof.Index)
	rt.Internal.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	rt.Internal.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	rt.Internal.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	rt.Internal.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	ln, err := Listen(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("internal listener: %w", err)
	}
	rt.Log.LogAttrs(ctx, slog.LevelInfo, "internal listener open", slog.String("addr", ln.Addr().String()))
	server := HTTPServer("internal", ln, rt.Internal, rt.Log)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := contained(ctx, server.Run); err != nil {
			rt.Log.LogAttrs(ctx, slog.LevelError, "internal listener failed", slog.String("error", err.Error()))
		}
	}()
	return func() {
		cancel()
		<-done
	}, nil
}
