package envsecret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"

	"codexgateway.dev/pkg/secret"
)

// envPrefix begins the variable of every secret.
const envPrefix = "CODEXGW_SECRET_"

// fallbacks are variables that users have set already, by secret name.
var fallbacks = map[string]string{"openai-api-key": "OPENAI_API_KEY"}

// Options of a [Driver].
type Options struct {
	// LookupEnv reads the environment; nil: there is none.
	LookupEnv func(name string) (string, bool)
	// Dir holds one file per secret, mode 0600. It need not exist.
	Dir string
	// Logger hears of files that others can read; nil: slog.Default().
	Logger *slog.Logger
}

// Driver reads secrets from the environment and from files. It is safe for
// concurrent use.
type Driver struct {
	lookup func(string) (string, bool)
	dir    string
	log    *slog.Logger

	mu sync.Mutex
	// warned are the files whose mode was complained about, once each.
	warned map[string]bool
}

var _ secret.Driver = (*Driver)(nil)

// New returns a driver.
func New(opt Options) *Driver {
	d := &Driver{lookup: opt.LookupEnv, dir: opt.Dir, log: opt.Logger, warned: make(map[string]bool)}
	if d.lookup == nil {
		d.lookup = func(string) (string, bool) { return "", false }
	}
	if d.log == nil {
		d.log = slog.Default()
	}
	return d
}

// Latest implements secret.Driver.
func (d *Driver) Latest(ctx context.Context, name string) (secret.Value, error) {
	if !secret.ValidName(name) {
		return secret.Value{}, fmt.Errorf("envsecret: %w", secret.ErrInvalidName)
	}
	if err := context.Cause(ctx); err != nil {
		return secret.Value{}, fmt.Errorf("envsecret: %w", err)
	}
	variable := envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	if v, ok := d.lookup(variable); ok && v != "" {
		return secret.NewValue(v), nil
	}
	v, err := d.read(name)
	if err != nil {
		return secret.Value{}, fmt.Errorf("envsecret: %w", err)
	}
	if v != "" {
		return secret.NewValue(v), nil
	}
	if variable, ok := fallbacks[name]; ok {
		if v, ok := d.lookup(variable); ok && v != "" {
			return secret.NewValue(v), nil
		}
	}
	return secret.Value{}, fmt.Errorf("envsecret: %w", secret.ErrNotFound)
}

// read returns the file of a secret without one trailing newline, empty when
// there is none.
func (d *Driver) read(name string) (string, error) {
	// A root refuses symbolic links that lead outside, which the name check
	// cannot see.
	root, err := os.OpenRoot(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer root.Close()
	info, err := root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() { // opening a FIFO would wait for its writer
		return "", fmt.Errorf("secret file %s is not a regular file", name)
	}
	d.checkMode(name, info.Mode().Perm())
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, secret.MaxBytes+3))
	if err != nil {
		return "", err
	}
	v := string(data)
	if line, ok := strings.CutSuffix(v, "\n"); ok {
		v = strings.TrimSuffix(line, "\r")
	}
	if len(v) > secret.MaxBytes {
		return "", fmt.Errorf("secret file %s has more than %d bytes", name, secret.MaxBytes)
	}
	return v, nil
}

// checkMode warns, once per file, when others than the owner may read it. It
// is still served: refusing would turn a container mount's mode into an outage.
func (d *Driver) checkMode(name string, mode fs.FileMode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if mode&0o077 == 0 {
		delete(d.warned, name)
		return
	}
	if d.warned[name] {
		return
	}
	d.warned[name] = true
	d.log.Warn("secret file is readable by others, make it 0600",
		slog.String("secret", name), slog.String("dir", d.dir), slog.String("mode", mode.String()))
}

// Close implements secret.Driver; there is nothing to close.
func (*Driver) Close() error { return nil }
