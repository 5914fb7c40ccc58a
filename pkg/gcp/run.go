package gcp

import (
	"context"

	"codexgateway.dev/pkg/gcp/cloudrun"
)

// Run is how the Cloud Run Admin API is reached.
type Run struct {
	Region   string `env:"CODEXGW_REGION" doc:"Cloud Run region of the execution job and of the worker pool."`
	Emulator string `env:"RUN_ADMIN_EMULATOR_HOST" doc:"host:port of a Cloud Run Admin API server without authentication; for tests."`
}

// OpenRun returns a client of the Run Admin API of the project. It calls nobody.
func OpenRun(ctx context.Context, cfg Config, run Run) (*cloudrun.Client, error) {
	c := cloudrun.Config{Project: cfg.Project, Region: run.Region}
	if run.Emulator != "" {
		c.Endpoint = "http://" + emulatorAddr(run.Emulator)
	} else {
		c.Credentials = defaultCredentials()
	}
	return cloudrun.Open(ctx, c)
}
