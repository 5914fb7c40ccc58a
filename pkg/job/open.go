package job

import (
	"context"
	"log/slog"
	"time"

	"codexgateway.dev/pkg/platform"
)

// Opening is what [Open] cannot take from the platform or the configuration.
type Opening struct {
	// Service is the publishing service: "edge", "worker", …. Its events come from
	// "/codexgw/<service>".
	Service string
	Now     func() time.Time
	Logger  *slog.Logger
	// ClaimDelay is that of [Deps].
	ClaimDelay time.Duration
}

// Open returns the store of one service on a platform. A zero cfg limits no
// tenant and keeps logs for ever.
func Open(p *platform.Platform, cfg Config, o Opening) (*Store, error) {
	limits, err := cfg.Tenants.Limits()
	if err != nil {
		return nil, err
	}
	return NewStore(Deps{
		Docs: p.Docs, Blobs: p.Blobs, Bus: p.Bus, Source: "/codexgw/" + o.Service, Now: o.Now, Logger: o.Logger,
		ClaimDelay: o.ClaimDelay, Limit: limits, LogRetention: cfg.LogRetention,
		PutBlob: func(ctx context.Context, name string, data []byte) error { return p.WriteBlob(ctx, name, data, "") },
	})
}
