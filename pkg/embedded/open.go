package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/embedded/envsecret"
	"codexgateway.dev/pkg/embedded/membus"
	"codexgateway.dev/pkg/embedded/sqlitestore"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/secret"
)

// Config of [Open]. Dir is required, all else has a default.
type Config struct {
	// Dir holds everything; created with mode 0700 when missing.
	Dir string
	// Schema of the documents.
	Schema docstore.Schema
	// Topics and Subscriptions of the bus; nil: events.Topics and the joint
	// subscriptions of events.Deployed.
	Topics        []events.Topic
	Subscriptions []events.Subscription
	// LookupEnv reads secrets from the environment; nil: files only.
	LookupEnv func(string) (string, bool)
	// Logger; nil: slog.Default().
	Logger *slog.Logger
	// Now is the clock; nil: time.Now. Signed URLs expire by the system's clock.
	Now func() time.Time
}

// Open opens the platform of a directory. It fails with ErrInUse while another
// gateway uses it.
func Open(ctx context.Context, cfg Config) (_ *platform.Platform, err error) {
	if cfg.Dir == "" {
		return nil, errors.New("embedded: no data directory")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Topics == nil {
		cfg.Topics = events.Topics
	}
	if cfg.Subscriptions == nil {
		cfg.Subscriptions = events.Deployed(false)
	}
	dir, err := prepareDir(cfg.Dir, cfg.Logger)
	if err != nil {
		return nil, err
	}
	var opened []func() error // closed in reverse when a later step fails
	defer func() {
		if err == nil {
			return
		}
		for _, undo := range slices.Backward(opened) {
			err = errors.Join(err, undo())
		}
	}()

	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	opened = append(opened, lock.Close)
	driver, err := sqlitestore.Open(ctx, filepath.Join(dir, "gateway.db"), cfg.Schema, sqlitestore.Options{Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("embedded: documents: %w", err)
	}
	opened = append(opened, driver.Close)
	docs, err := docstore.New(driver, cfg.Schema, docstore.Options{Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("embedded: documents: %w", err)
	}
	bucket, handler, err := openBlobs(dir, cfg.Logger)
	if err != nil {
		return nil, err
	}
	messages := membus.New(cfg.Topics, cfg.Subscriptions, membus.Options{Logger: cfg.Logger, Now: cfg.Now})
	secrets := envsecret.New(envsecret.Options{LookupEnv: cfg.LookupEnv, Dir: filepath.Join(dir, "secrets"), Logger: cfg.Logger})
	return &platform.Platform{
		Bus:         bus.New(messages, bus.Options{Logger: cfg.Logger, Subscriptions: cfg.Subscriptions, Now: cfg.Now}),
		Docs:        docs,
		Blobs:       bucket,
		Secrets:     secret.New(secrets, secret.Options{Logger: cfg.Logger, Now: cfg.Now}),
		BlobHandler: handler,
		Release:     lock.Close,
	}, nil
}

// prepareDir creates the data directory and returns it as an absolute path, so
// that a later change of the working directory does not move it.
func prepareDir(dir string, log *slog.Logger) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("embedded: data directory: %w", err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "blobs"), filepath.Join(dir, "secrets")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return "", fmt.Errorf("embedded: data directory: %w", err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("embedded: data directory: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		// Files inside have modes of their own, but blobs rely on the directory.
		log.Warn("data directory is open to other users, make it 0700",
			slog.String("dir", dir), slog.String("mode", info.Mode().Perm().String()))
	}
	return dir, nil
}
