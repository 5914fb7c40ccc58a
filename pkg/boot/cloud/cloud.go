package cloud

import (
	"context"

	"codexgateway.dev/pkg/boot"
	"codexgateway.dev/pkg/gcp"
	"codexgateway.dev/pkg/platform"
)

// Process is a service on Google Cloud.
type Process = boot.Process[gcp.Config]

// Open opens the platform for [boot.Process].
func Open(ctx context.Context, cfg gcp.Config, d boot.Deps) (*platform.Platform, error) {
	return gcp.Open(ctx, cfg, gcp.Deps{
		Schema: d.Schema, Instance: d.Instance, LookupEnv: d.LookupEnv, PushMux: d.Mux, Logger: d.Logger, Now: d.Now,
	})
}
