package gcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"time"

	"gocloud.dev/blob"
	"google.golang.org/api/option"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/embedded/envsecret"
	"codexgateway.dev/pkg/gcp/firestoredocs"
	"codexgateway.dev/pkg/gcp/gcsblobs"
	"codexgateway.dev/pkg/gcp/pubsubbus"
	"codexgateway.dev/pkg/gcp/secretversions"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/secret"
)

// Deps of [Open]. Schema is required, all else has a default.
type Deps struct {
	// Schema of the documents.
	Schema docstore.Schema
	// Topics and Subscriptions of the bus; nil: those of package events.
	Topics        []events.Topic
	Subscriptions []events.Subscription
	// Instance names this process in its own subscriptions, for people.
	Instance string
	// LookupEnv reads secrets when they come from the environment; nil: files only.
	LookupEnv func(string) (string, bool)
	// PushMux gets the receiver of pushes at /push/; required when the
	// configuration names pushed subscriptions.
	PushMux *http.ServeMux
	// Logger; nil: slog.Default().
	Logger *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// DocsOptions, BusOptions and SecretsOptions are added to those of the
	// clients, for interceptors that count calls.
	DocsOptions, BusOptions, SecretsOptions []option.ClientOption
	// WrapHTTP is put around the transport of Cloud Storage, for the same.
	WrapHTTP func(http.RoundTripper) http.RoundTripper
}

func (d Deps) withDefaults() Deps {
	if d.Topics == nil {
		d.Topics = events.Topics
	}
	if d.Subscriptions == nil {
		d.Subscriptions = events.Subscriptions
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	return d
}

// Open opens the platform. It makes no network call: what is missing or away
// shows in Check and at the first use, and heals. It fails on a configuration
// that nothing can heal, and leaves nothing open then.
func Open(ctx context.Context, cfg Config, deps Deps) (_ *platform.Platform, err error) {
	deps = deps.withDefaults()
	auth := clientAuth(&cfg)
	var opened []func() error // closed in reverse when a later part fails
	defer func() {
		if err == nil {
			return
		}
		for _, undo := range slices.Backward(opened) {
			err = errors.Join(err, undo())
		}
	}()

	documents, err := firestoredocs.Open(ctx, firestoredocs.Config{
		Project: cfg.Project, Database: cfg.Database, Emulator: emulatorAddr(cfg.FirestoreEmulator),
		Options: slices.Concat(auth, deps.DocsOptions), Logger: deps.Logger,
	}, deps.Schema)
	if err != nil {
		return nil, fmt.Errorf("gcp: documents: %w", err)
	}
	opened = append(opened, documents.Close)
	docs, err := docstore.New(documents, deps.Schema, docstore.Options{Logger: deps.Logger})
	if err != nil {
		return nil, fmt.Errorf("gcp: documents: %w", err)
	}
	blobs, err := openBlobs(ctx, &cfg, &deps)
	if err != nil {
		return nil, fmt.Errorf("gcp: blobs: %w", err)
	}
	opened = append(opened, blobs.Close)
	secrets, err := openSecrets(ctx, &cfg, &deps, auth)
	if err != nil {
		return nil, fmt.Errorf("gcp: secrets: %w", err)
	}
	opened = append(opened, secrets.Close)
	messages, err := openBus(ctx, &cfg, &deps, auth)
	if err != nil {
		return nil, fmt.Errorf("gcp: bus: %w", err)
	}
	return &platform.Platform{
		Bus:     bus.New(messages, bus.Options{Logger: deps.Logger, Subscriptions: deps.Subscriptions, Now: deps.Now}),
		Docs:    docs,
		Blobs:   blobs,
		Secrets: secret.New(secrets, secret.Options{Logger: deps.Logger, Now: deps.Now}),
	}, nil
}

// clientAuth are the credentials of the gRPC clients; emulators take none.
func clientAuth(cfg *Config) []option.ClientOption {
	if cfg.Emulated() {
		return nil
	}
	return []option.ClientOption{option.WithAuthCredentials(defaultCredentials())}
}

func openBlobs(ctx context.Context, cfg *Config, deps *Deps) (*blob.Bucket, error) {
	c := blobsConfig(cfg)
	c.Wrap, c.Now = deps.WrapHTTP, deps.Now
	if cfg.SignerKeyFile != "" {
		key, err := os.ReadFile(cfg.SignerKeyFile)
		if err != nil {
			return nil, fmt.Errorf("CODEXGW_SIGNER_KEY_FILE: %w", err)
		}
		c.SignerKey = secret.NewValue(string(key))
	}
	return gcsblobs.Open(ctx, c)
}

func blobsConfig(cfg *Config) gcsblobs.Config {
	c := gcsblobs.Config{Bucket: cfg.Bucket, Emulator: emulatorAddr(cfg.StorageEmulator), LinkHost: cfg.StorageLinkHost, SignerEmail: cfg.SignerEmail}
	if c.Emulator == "" {
		c.Credentials = defaultCredentials()
	}
	return c
}

func openSecrets(ctx context.Context, cfg *Config, deps *Deps, auth []option.ClientOption) (secret.Driver, error) {
	if cfg.Secrets == SecretsEnv {
		return envsecret.New(envsecret.Options{LookupEnv: deps.LookupEnv, Dir: cfg.SecretsDir, Logger: deps.Logger}), nil
	}
	return secretversions.Open(ctx, secretversions.Config{
		Project: cfg.Project, Emulator: emulatorAddr(cfg.SecretsEmulator), Options: slices.Concat(auth, deps.SecretsOptions),
	})
}

func openBus(ctx context.Context, cfg *Config, deps *Deps, auth []option.ClientOption) (*pubsubbus.Driver, error) {
	c := pubsubbus.Config{
		Project: cfg.Project, Emulator: emulatorAddr(cfg.PubSubEmulator), Instance: deps.Instance,
		Topics: deps.Topics, Subscriptions: deps.Subscriptions, Logger: deps.Logger, Now: deps.Now,
		Options: slices.Concat(auth, deps.BusOptions),
	}
	if len(cfg.Push.Subscriptions) == 0 {
		return pubsubbus.Open(ctx, c)
	}
	if deps.PushMux == nil {
		return nil, errors.New("CODEXGW_PUSH_SUBSCRIPTIONS is set for a service that receives no pushes")
	}
	c.Push = &pubsubbus.Push{Subscriptions: cfg.Push.Subscriptions, Auth: pubsubbus.PushAuth{
		Mode: pubsubbus.PushMode(cfg.Push.Auth), Audience: cfg.Push.Audience, ServiceAccount: cfg.Push.Account, KeysURL: cfg.Push.KeysURL,
	}}
	d, err := pubsubbus.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	deps.PushMux.Handle(pubsubbus.PushPath, c.Push)
	return d, nil
}
