package cloud

import (
	"context"
	"errors"

	"codexgateway.dev/pkg/boot"
	"codexgateway.dev/pkg/gcp"
	"codexgateway.dev/pkg/gcp/cloudrun"
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

// RunConfig is where Cloud Run is, for a service that starts executions or sizes
// a pool.
type RunConfig struct {
	Project  string `env:"GOOGLE_CLOUD_PROJECT" doc:"The Google Cloud project."`
	Region   string `env:"CODEXGW_REGION" doc:"The region of the Cloud Run job and worker pool, for CODEXGW_EXECUTION_JOB and CODEXGW_POOL."`
	Endpoint string `env:"CODEXGW_RUN_ENDPOINT" doc:"A server that stands in for the Cloud Run Admin API, without authentication (development)."`
}

// Open returns a client of the Cloud Run Admin API. It calls nobody.
func (c *RunConfig) Open(ctx context.Context) (*cloudrun.Client, error) {
	if c.Region == "" {
		return nil, errors.New("CODEXGW_REGION is required for CODEXGW_EXECUTION_JOB and CODEXGW_POOL")
	}
	return cloudrun.Open(ctx, cloudrun.Config{Project: c.Project, Region: c.Region, Endpoint: c.Endpoint})
}
