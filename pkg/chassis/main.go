package chassis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sethvargo/go-envconfig"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Exit codes of [Main].
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitPanic  = 2
)

// flushTimeout is the default of Process.FlushTimeout.
const flushTimeout = time.Second

// Service is what a main runs: it works until ctx ends, stops in order and
// returns what went wrong. The root package of every service has one.
type Service interface {
	Run(ctx context.Context) error
}

// Config is what every service reads besides its own configuration.
type Config struct {
	Log       LogConfig
	Telemetry TelemetryConfig
	// InternalAddr is not for the public: no authentication.
	InternalAddr string        `env:"CODEXGW_INTERNAL_ADDR" doc:"The address of the internal listener: /metrics, /debug/pprof, /health and /ready. Off when not set; never expose it."`
	DrainTimeout time.Duration `env:"CODEXGW_DRAIN_TIMEOUT,default=4s" min:"100ms" max:"1h" doc:"How long work in hand may go on after SIGTERM. Cloud Run kills after 10 s in all."`
}

// Process is the process that [Main] runs in. The zero value of a field means
// the real thing; tests and the command line set others.
type Process struct {
	// Name is the service: "edge", "worker", ….
	Name string
	// Lookup reads the configuration; nil: the environment.
	Lookup envconfig.Lookuper
	// Log is where the log goes; nil: standard error.
	Log io.Writer
	// Signals ask for the stop; nil: SIGINT and SIGTERM.
	Signals <-chan os.Signal
	// FlushTimeout bounds the last export of spans and metrics; 0: 1 s.
	FlushTimeout time.Duration
}

// Runtime is what Main gives a service.
type Runtime struct {
	Name    string
	Build   BuildInfo
	Log     *slog.Logger
	Health  *Health
	Tracing trace.TracerProvider
	Metrics metric.MeterProvider
	// Internal are the routes of the internal listener; a service may add to
	// them while it is built. Without CODEXGW_INTERNAL_ADDR nobody serves them.
	Internal *http.ServeMux
	limits   StopLimits
}

// processLimits are those of a process whose services stop by themselves, and drain
// within that: besides the drain, what a worker needs to hand back its jobs, and a
// platform to close its connections. Cloud Run kills 10 s after the signal whatever
// is said here; other places wait longer.
func processLimits(drain time.Duration) StopLimits {
	return StopLimits{Drain: drain, Stop: drain + 15*time.Second, Close: 5 * time.Second}
}

// NewGroup returns an empty group with the process's health and limits.
func (rt *Runtime) NewGroup() *Group { return NewGroup(rt.Log, rt.Health, rt.limits) }

// SignalError is the cause of a context that a signal ended.
type SignalError struct{ Signal os.Signal }

func (e *SignalError) Error() string { return "signal: " + e.Signal.String() }

// Main runs a service and returns the exit code of the process: it loads the
// service's configuration C and the process's own, reports all that is wrong
// with both, sets up logs, telemetry and the internal listener, calls build and
// runs what it returns until a signal or until the service ends by itself. A
// second signal returns at once with 128 and the signal's number.
func Main[C any](ctx context.Context, p Process, build func(ctx context.Context, rt *Runtime, cfg C) (Service, error)) int {
	if p.Log == nil {
		p.Log = os.Stderr
	}
	if p.Signals == nil {
		signals := make(chan os.Signal, 2)
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
		defer signal.Stop(signals)
		p.Signals = signals
	}
	type all struct {
		Process Config
		Service C
	}
	cfg, err := Load[all](ctx, p.Lookup)
	log := NewLogger(p.Log, cfg.Process.Log).With(slog.String("service", p.Name), slog.String("version", Build().Version))
	if err != nil {
		return exitCode(ctx, log, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	finished := make(chan error, 1)
	go func() {
		finished <- p.serve(ctx, cfg.Process, log, func(ctx context.Context, rt *Runtime) (Service, error) {
			return build(ctx, rt, cfg.Service)
		})
	}()
	select {
	case err := <-finished:
		return exitCode(ctx, log, err)
	case sig := <-p.Signals:
		cancel(&SignalError{Signal: sig})
	}
	select {
	case err := <-finished:
		return exitCode(ctx, log, err)
	case sig := <-p.Signals:
		log.LogAttrs(ctx, slog.LevelWarn, "second signal, exit at once", slog.String("signal", sig.String()))
		if n, ok := sig.(syscall.Signal); ok {
			return 128 + int(n)
		}
		return ExitFailed
	}
}

// serve is the life of the service between configuration and exit code.
func (p Process) serve(ctx context.Context, cfg Config, log *slog.Logger, build func(context.Context, *Runtime) (Service, error)) (err error) {
	defer contain(&err)
	rt := &Runtime{
		Name: p.Name, Build: Build(), Log: log, Health: NewHealth(log), Internal: http.NewServeMux(),
		limits: processLimits(cfg.DrainTimeout),
	}
	measured, err := newTelemetry(ctx, p.Name, rt.Build, cfg.Telemetry, cfg.InternalAddr != "")
	if err != nil {
		return err
	}
	measured.install(ctx, log)
	rt.Tracing, rt.Metrics = measured.tracing, measured.metrics
	defer func() {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(p.FlushTimeout, flushTimeout))
		defer cancel()
		// What the collector misses is no reason to call the run a failure.
		if failed := measured.stop(flush); failed != nil {
			log.LogAttrs(flush, slog.LevelWarn, "telemetry not flushed", slog.String("error", failed.Error()))
		}
	}()
	svc, err := build(ctx, rt)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	stopInternal, err := rt.serveInternal(ctx, cfg.InternalAddr, measured.scrape)
	if err != nil {
		return err
	}
	defer stopInternal()
	return svc.Run(ctx)
}

// exitCode logs why the service ended and says so in a number.
func exitCode(ctx context.Context, log *slog.Logger, err error) int {
	if err == nil {
		log.LogAttrs(ctx, slog.LevelInfo, "service stopped")
		return ExitOK
	}
	if wrong, ok := errors.AsType[*ConfigError](err); ok {
		for _, problem := range wrong.Problems {
			log.LogAttrs(ctx, slog.LevelError, "configuration is wrong", slog.String("error", problem.Error()))
		}
		return ExitFailed
	}
	attrs := []slog.Attr{slog.String("error", err.Error())}
	code := ExitFailed
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		code = ExitOK // a start or a plain loop that the signal interrupted
	}
	if p, ok := errors.AsType[*PanicError](err); ok {
		code = ExitPanic
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	if code == ExitOK {
		log.LogAttrs(ctx, slog.LevelInfo, "service stopped", attrs...)
		return code
	}
	log.LogAttrs(ctx, slog.LevelError, "service failed", attrs...)
	return code
}
