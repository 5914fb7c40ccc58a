package up

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/embedded/envsecret"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/standalone/internal/settings"
)

// Addr is where up listens.
func Addr(ctx context.Context, flag string, env func(string) (string, bool)) (string, error) {
	if flag == "" {
		cfg, err := chassis.Load[chassis.ListenConfig](ctx, lookuper(env))
		if err != nil {
			return "", &SettingError{Problem: err.Error(), Fix: "Correct the variable, or use --addr HOST:PORT."}
		}
		flag = cfg.Address()
	}
	if _, _, err := net.SplitHostPort(flag); err != nil {
		return "", &SettingError{Problem: fmt.Sprintf("%q is not an address to listen on", flag), Fix: "Use --addr HOST:PORT, such as --addr " + settings.DefaultAddr + "."}
	}
	return flag, nil
}

// DataDir is the absolute data directory. It must not lie under the temporary
// directory: Codex refuses to put its helpers there, and what is stored must
// outlive a cleaning. It is returned also when that is what is wrong.
func DataDir(flag, tempDir string, env func(string) (string, bool)) (string, error) {
	dir := flag
	if dir == "" {
		var err error
		if dir, err = settings.DataDir(env); err != nil {
			return "", &SettingError{Problem: "no data directory: " + err.Error(), Fix: "Use --data DIR."}
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	if tempDir == "" {
		tempDir = os.TempDir()
	}
	if rel, err := filepath.Rel(real(tempDir), real(dir)); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return dir, &SettingError{
			Problem: fmt.Sprintf("the data directory %s lies under the temporary directory %s", dir, tempDir),
			Fix:     "Use --data DIR with a directory that lasts, such as --data ~/codexgw.",
		}
	}
	return dir, nil
}

// real is a path without symbolic links, as far as it exists.
func real(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(real(parent), filepath.Base(path))
}

// makeDir creates the data directory for its owner alone.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &SettingError{Problem: fmt.Sprintf("the data directory cannot be made: %v", err), Fix: "Use --data DIR with a directory you may write."}
	}
	return nil
}

// secretsDir holds the secrets of a data directory, one file each.
func secretsDir(dataDir string) string { return filepath.Join(dataDir, "secrets") }

// ErrNoModelKey means that no model key is set.
var ErrNoModelKey = errors.New("no model key is set")

// ModelKey looks for the model key as the embedded platform does and returns
// the name of its secret.
func ModelKey(ctx context.Context, env func(string) (string, bool), dataDir string) (name string, err error) {
	name = "openai-api-key"
	if v, ok := env("CODEXGW_MODEL_KEY_SECRET"); ok && v != "" {
		name = v
	}
	driver := envsecret.New(envsecret.Options{
		LookupEnv: env, Dir: secretsDir(dataDir), Logger: slog.New(slog.DiscardHandler),
	})
	_, err = driver.Latest(ctx, name)
	switch {
	case errors.Is(err, secret.ErrNotFound):
		return name, ErrNoModelKey
	case err != nil:
		return name, fmt.Errorf("the model key cannot be read: %w", err)
	default:
		return name, nil
	}
}

// noModel says how to set a model key.
func noModel(err error, dir string) error {
	return &SettingError{
		Problem: err.Error(),
		Fix: "Set OPENAI_API_KEY, or write the key to " + filepath.Join(secretsDir(dir), "openai-api-key") +
			" (mode 0600), or use --mock-model to try the gateway without a model.",
	}
}

// listen opens the port.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	ln, err := chassis.Listen(ctx, addr)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use: stop the program that has it (perhaps another codexgw up), "+
			"or choose another port with --addr, such as --addr 127.0.0.1:8081", addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s is not allowed to this user: choose a port above 1023 with --addr", addr)
	default:
		return nil, err
	}
}

// reachable is an address that this machine can connect to.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
}

// isDefault reports whether the other commands find this gateway and its key by
// themselves.
func isDefault(cfg Config, dir, addr string) bool {
	own, err := settings.DataDir(cfg.LookupEnv)
	if err != nil {
		return false
	}
	own, err = filepath.Abs(own)
	return err == nil && own == dir && addr == settings.DefaultAddr
}

// lookuper reads the environment for package chassis.
type lookuper func(string) (string, bool)

var _ envconfig.Lookuper = lookuper(nil)

// Lookup implements envconfig.Lookuper.
func (l lookuper) Lookup(key string) (string, bool) { return l(key) }

// overlay is the environment with the flags on top.
func overlay(cfg Config, dir, addr string) envconfig.Lookuper {
	over := map[string]string{
		"CODEXGW_PLATFORM": "embedded", "CODEXGW_ADDR": addr, settings.EnvDataDir: dir,
	}
	if cfg.Codex != "" {
		over["CODEXGW_CODEX"] = cfg.Codex
	}
	if v, ok := cfg.LookupEnv("CODEXGW_WORKER_DIR"); !ok || v == "" {
		over["CODEXGW_WORKER_DIR"] = filepath.Join(dir, "jobs")
	}
	return lookuper(func(key string) (string, bool) {
		if v, ok := over[key]; ok {
			return v, true
		}
		return cfg.LookupEnv(key)
	})
}
