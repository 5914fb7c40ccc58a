package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/embedded/envsecret"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/standalone/internal/settings"
)

// keyEnv names this kind of installation in its keys.
const keyEnv = "local"

// adminKey reads the admin key, or makes it. created is true when it is new.
func adminKey(path string, warn io.Writer) (key secret.Value, created bool, err error) {
	key, err = settings.ReadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = apikey.Make(keyEnv); err != nil {
			return secret.Value{}, false, err
		}
		if err := writeOnce(path, key); err != nil {
			return secret.Value{}, false, fmt.Errorf("write the admin key: %w", err)
		}
		return key, true, nil
	}
	if err != nil {
		return secret.Value{}, false, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return secret.Value{}, false, fmt.Errorf("read the admin key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o600); err != nil {
			return secret.Value{}, false, fmt.Errorf("others can read the admin key: %w", err)
		}
		_, _ = fmt.Fprintf(warn, "codexgw: other users could read %s (mode %o); it is 0600 now\n", path, info.Mode().Perm())
	}
	return key, false, nil
}

// makePepper makes the pepper that tenants' keys are stored under, if there is
// none, as the embedded platform looks for it.
func makePepper(ctx context.Context, env func(string) (string, bool), dataDir string) error {
	dir := secretsDir(dataDir)
	driver := envsecret.New(envsecret.Options{LookupEnv: env, Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	_, err := driver.Latest(ctx, apikey.PepperSecret)
	if !errors.Is(err, secret.ErrNotFound) {
		return err
	}
	pepper, err := apikey.NewPepper()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := writeOnce(filepath.Join(dir, apikey.PepperSecret), pepper); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil // another start was faster
}

// writeOnce writes a secret whole or not at all, and never over another.
func writeOnce(path string, value secret.Value) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	if _, err := io.WriteString(f, value.Reveal()+"\n"); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
