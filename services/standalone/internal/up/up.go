package up

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/standalone/internal/settings"
)

// Config of [Run].
type Config struct {
	// Addr to listen on; empty: CODEXGW_ADDR, PORT or 127.0.0.1:8080.
	Addr string
	// DataDir holds everything; empty: see settings.DataDir.
	DataDir string
	// Codex is the Codex CLI; empty: CODEXGW_CODEX, or found by the worker.
	Codex string
	// MockModel answers with the built-in scripted model instead of a real one.
	MockModel bool

	LookupEnv      func(string) (string, bool)
	Stdout, Stderr io.Writer
	// Signals ask for the stop; nil: SIGINT and SIGTERM.
	Signals <-chan os.Signal
	// TempDir is the system's temporary directory; empty: os.TempDir().
	TempDir string
	// Assemble composes the services; nil: [Assemble].
	Assemble AssembleFunc
}

// Parts is what the services are composed of, ready to use.
type Parts struct {
	// Listener is open already; the edge serves on it and closes it.
	Listener net.Listener
	// URL is the gateway's own base URL, for links in answers.
	URL string
	// DataDir is absolute and exists with mode 0700.
	DataDir string
	// Codex is the Codex CLI to use; empty: the worker finds it.
	Codex     string
	MockModel bool
	// AdminKey is the key the edge takes as the administrator's.
	AdminKey secret.Value
	// Env is the environment with the flags on top: CODEXGW_PLATFORM,
	// CODEXGW_ADDR, CODEXGW_DATA_DIR, CODEXGW_WORKER_DIR (DIR/jobs unless set)
	// and CODEXGW_CODEX. The services' configurations are loaded from it with
	// chassis.Load.
	Env envconfig.Lookuper
	// LookupEnv is the plain environment, for secrets.
	LookupEnv func(string) (string, bool)
}

// AssembleFunc composes the services into one that chassis runs. Its error ends
// the start; the listener is then closed by the caller.
type AssembleFunc func(ctx context.Context, rt *chassis.Runtime, p Parts) (chassis.Service, error)

// SettingError means that a setting is wrong or missing; Fix says what to do.
type SettingError struct {
	Problem, Fix string
}

// Error implements error.
func (e *SettingError) Error() string { return e.Problem }

// Run starts the gateway and returns the exit code of the process when it has
// ended. The error is why it did not start: a *SettingError or a plain one.
func Run(ctx context.Context, cfg Config) (exitCode int, err error) {
	if cfg.Assemble == nil {
		cfg.Assemble = Assemble
	}
	dir, err := DataDir(cfg.DataDir, cfg.TempDir, cfg.LookupEnv)
	if err != nil {
		return 0, err
	}
	if !cfg.MockModel {
		if _, err := ModelKey(ctx, cfg.LookupEnv, dir); err != nil {
			return 0, noModel(err, dir)
		}
	}
	addr, err := Addr(ctx, cfg.Addr, cfg.LookupEnv)
	if err != nil {
		return 0, err
	}
	if err := makeDir(dir); err != nil {
		return 0, err
	}
	ln, err := listen(ctx, addr)
	if err != nil {
		return 0, err
	}
	// The edge closes it when it stops; a start that fails leaves it open.
	defer ln.Close()
	key, created, err := adminKey(settings.AdminKeyFile(dir), cfg.Stderr)
	if err != nil {
		return 0, err
	}
	if err := makePepper(ctx, cfg.LookupEnv, dir); err != nil {
		return 0, fmt.Errorf("make the pepper of keys: %w", err)
	}
	parts := Parts{
		Listener: ln, URL: "http://" + reachable(ln.Addr()), DataDir: dir, Codex: cfg.Codex, MockModel: cfg.MockModel,
		AdminKey: key, LookupEnv: cfg.LookupEnv, Env: overlay(cfg, dir, ln.Addr().String()),
	}
	greet := greeting{parts: parts, stdout: cfg.Stdout, stderr: cfg.Stderr, showKey: created, isDefault: isDefault(cfg, dir, addr)}
	process := chassis.Process{Name: "standalone", Lookup: parts.Env, Log: cfg.Stderr, Signals: cfg.Signals}
	return chassis.Main(ctx, process, func(ctx context.Context, rt *chassis.Runtime, _ struct{}) (chassis.Service, error) {
		svc, err := cfg.Assemble(ctx, rt, parts)
		if err != nil {
			return nil, err
		}
		return &announced{Service: svc, greeting: greet, log: rt.Log}, nil
	}), nil
}
