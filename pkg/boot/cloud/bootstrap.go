package cloud

import (
	"context"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/gcp"
	"codexgateway.dev/pkg/platform"
)

// lookup reads the environment for package chassis.
type lookup func(string) (string, bool)

// Lookup implements envconfig.Lookuper.
func (l lookup) Lookup(key string) (string, bool) { return l(key) }

// Bootstrap creates what the services need on the platform that the environment
// names; see [gcp.Bootstrap]. A configuration that is wrong is a
// *chassis.ConfigError.
func Bootstrap(ctx context.Context, env func(string) (string, bool), opt platform.BootstrapOptions) error {
	cfg, err := chassis.Load[gcp.Config](ctx, lookup(env))
	if err != nil {
		return err
	}
	return gcp.Bootstrap(ctx, cfg, opt)
}
