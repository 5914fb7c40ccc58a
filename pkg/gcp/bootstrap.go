package gcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/gcp/gcsblobs"
	"codexgateway.dev/pkg/platform"
)

// ErrRealProject means that a bootstrap would have changed a project of Google
// Cloud without being told so.
var ErrRealProject = errors.New("gcp: not on emulators: a real project is set up by Terraform")

// Bootstrap creates what services need and is not there yet: topics, dead
// letters and shared subscriptions, and the bucket. Documents and secrets need
// nothing. It may run any number of times, also at the same time.
func Bootstrap(ctx context.Context, cfg Config, opt platform.BootstrapOptions) error {
	if !cfg.Emulated() && !opt.RealProject {
		return ErrRealProject
	}
	deps := Deps{Logger: opt.Logger, Instance: "bootstrap", Subscriptions: events.Deployed(opt.Lanes)}.withDefaults()
	cfg.Push.Subscriptions = nil // it receives nothing
	messages, err := openBus(ctx, &cfg, &deps, clientAuth(&cfg))
	if err != nil {
		return fmt.Errorf("gcp: bootstrap: %w", err)
	}
	deps.Logger.InfoContext(ctx, "creating topics and subscriptions", slog.String("project", cfg.Project))
	busErr := errors.Join(messages.Bootstrap(ctx), messages.Close())
	deps.Logger.InfoContext(ctx, "creating bucket", slog.String("bucket", cfg.Bucket))
	if err := errors.Join(busErr, gcsblobs.Create(ctx, cfg.Project, blobsConfig(&cfg))); err != nil {
		return fmt.Errorf("gcp: bootstrap: %w", err)
	}
	return nil
}
