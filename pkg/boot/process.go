package boot

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/platform"
)

// Process is one service as a process. P is the platform's configuration.
type Process[P any] struct {
	// Name is the service: "edge", "worker", ….
	Name string
	// Args are the arguments after the program's name: none, or -healthcheck.
	Args []string
	// Open opens the platform, without a call over the network: what is away at
	// the start must not keep the process from starting.
	Open func(ctx context.Context, cfg P, d Deps) (*platform.Platform, error)
	// OwnListener is true for a service that serves [Parts.Listener] itself. For
	// others Main serves [Parts.Mux] if PORT or CODEXGW_ADDR is set.
	OwnListener bool

	// Lookup, Log and Signals are those of [chassis.Process].
	Lookup  envconfig.Lookuper
	Log     io.Writer
	Signals <-chan os.Signal
}

// Deps is what a platform is opened with.
type Deps struct {
	Schema docstore.Schema
	// Instance is this process's own name, for subscriptions of its own.
	Instance string
	// LookupEnv reads the plain environment, for secrets.
	LookupEnv func(string) (string, bool)
	// Mux takes the receiver of pushed messages, under /push/.
	Mux    *http.ServeMux
	Logger *slog.Logger
	Now    func() time.Time
}

// Parts is what a service is built on.
type Parts struct {
	*platform.Platform

	// Jobs publishes as "/codexgw/<name>".
	Jobs *job.Store
	// Mux are the routes of the service's listener besides /health and /ready:
	// /push/ of the platform, and what the service adds. Until the service is built
	// they are answered 503. Nobody serves them for a service that serves by itself.
	Mux *http.ServeMux
	// Listener is for a service that serves by itself, nil for others. It has been
	// open since before the platform: connections that came before the service
	// serves wait in the kernel's queue instead of being refused.
	Listener net.Listener
	Now      func() time.Time
}

// Build builds the service. C is its configuration.
type Build[C any] = func(ctx context.Context, rt *chassis.Runtime, cfg C, p *Parts) (chassis.Service, error)

// config is everything that a process reads besides what chassis does.
type config[P, C any] struct {
	Platform P
	Jobs     job.Config
	Listen   chassis.ListenConfig
	Service  C
}

// exitUsage is the exit code for arguments that mean nothing.
const exitUsage = 2

// Main runs the service and returns the exit code of the process, as
// [chassis.Main] does; with -healthcheck it asks the running service instead, and
// is 0 when that is alive.
func Main[P, C any](ctx context.Context, p Process[P], build Build[C]) int {
	if p.Log == nil {
		p.Log = os.Stderr
	}
	if p.Lookup == nil {
		p.Lookup = envconfig.OsLookuper()
	}
	log := chassis.NewLogger(p.Log, chassis.LogConfig{}).With(slog.String("service", p.Name))
	switch {
	case len(p.Args) == 1 && (p.Args[0] == "-healthcheck" || p.Args[0] == "--healthcheck"):
		if err := healthcheck(ctx, p.Lookup); err != nil {
			log.LogAttrs(ctx, slog.LevelError, "not healthy", slog.String("error", err.Error()))
			return chassis.ExitFailed
		}
		return chassis.ExitOK
	case len(p.Args) > 0:
		log.LogAttrs(ctx, slog.LevelError, "unknown arguments: settings come from the environment, the only argument is -healthcheck")
		return exitUsage
	}
	if kind, _ := p.Lookup.Lookup("CODEXGW_PLATFORM"); kind != "" && kind != "gcp" {
		log.LogAttrs(ctx, slog.LevelError, "services run apart on CODEXGW_PLATFORM=gcp only: for the embedded platform, all of them in one process, run codexgw up",
			slog.String("codexgw_platform", kind))
		return chassis.ExitFailed
	}
	process := chassis.Process{
		Name: p.Name, Lookup: environment{p.Lookup, Defaults()}, Log: p.Log, Signals: p.Signals,
	}
	return chassis.Main(ctx, process, func(_ context.Context, rt *chassis.Runtime, cfg config[P, C]) (chassis.Service, error) {
		return &launch[P, C]{rt: rt, process: &p, cfg: &cfg, build: build}, nil
	})
}
