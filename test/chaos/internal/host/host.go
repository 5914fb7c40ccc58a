package host

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/wait"
	"codexgateway.dev/test/chaos/internal/wire"
)

// Options of a host.
type Options struct {
	Docs docstore.Driver
	Bus  bus.Driver
	// Seed decides the dice.
	Seed   uint64
	Faults wire.Faults
	// BreakFence lets a Create on an existing batch of the event log overwrite
	// it. A campaign must then find that history was changed.
	BreakFence bool
	Logger     *slog.Logger
}

// Host serves the drivers.
type Host struct {
	opt  Options
	dice *dice

	// life ends with Serve; what is delayed on purpose lives in it.
	life  context.Context //nolint:containedctx // the life of the host, not of a call
	end   context.CancelFunc
	later sync.WaitGroup

	mu        sync.Mutex
	receivers map[string]*receiver
}

// New returns a host that Serve runs. Whoever calls it closes the drivers
// afterwards.
func New(opt Options) *Host {
	h := &Host{opt: opt, dice: newDice(opt.Seed, opt.Faults), receivers: map[string]*receiver{}}
	h.life, h.end = context.WithCancel(context.Background())
	return h
}

// Listen opens the socket, in place of the one that a killed host has left.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	next := fmt.Sprintf("%s.%d", path, os.Getpid())
	ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", next)
	if err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	if unix, ok := ln.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false) // its name is another by then
	}
	// One rename: a caller finds the old socket, which refuses, or the new one.
	if err := os.Rename(next, filepath.Clean(path)); err != nil {
		return nil, errors.Join(fmt.Errorf("host: %w", err), ln.Close())
	}
	return ln, nil
}

// Serve answers on ln until ctx ends. Calls under way are cut then: a host ends
// by being killed, and whoever calls it can bear that. When Serve returns, no
// connection is left: one that still took a call would lose it in the bus that
// has ended, while the next host serves already.
func (h *Host) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{Handler: h.routes(), ReadHeaderTimeout: 10 * time.Second}
	cut := wait.AfterFunc(ctx, func() { _ = srv.Close() })
	err := srv.Serve(ln) // returns as soon as Close has begun
	cut()
	h.end()
	h.later.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("host: %w", err)
}

func (h *Host) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(wire.PathGet, answer(h.get))
	mux.Handle(wire.PathQuery, answer(h.query))
	mux.Handle(wire.PathCommit, answer(h.commit))
	mux.Handle(wire.PathPublish, answer(h.publish))
	mux.Handle(wire.PathSettle, answer(h.settle))
	mux.Handle(wire.PathStop, answer(h.stop))
	mux.Handle(wire.PathPing, answer(h.ping))
	mux.Handle(wire.PathFaults, answer(h.faults))
	mux.HandleFunc(wire.PathReceive, h.receive)
	return mux
}

// answer serves a call: one gob value in, one out.
func answer[In, Out any](call func(ctx context.Context, in *In) Out) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in := new(In)
		if err := gob.NewDecoder(r.Body).Decode(in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out := call(r.Context(), in)
		_ = gob.NewEncoder(w).Encode(&out) // the caller is gone
	})
}

func (h *Host) ping(ctx context.Context, _ *wire.Reply) wire.Reply {
	return wire.Reply{Err: wire.FromError(errors.Join(h.opt.Docs.Ping(ctx), h.opt.Bus.Ping(ctx)))}
}

// faults changes what is done wrong from here on.
func (h *Host) faults(_ context.Context, f *wire.Faults) wire.Reply {
	h.dice.set(*f)
	return wire.Reply{}
}
