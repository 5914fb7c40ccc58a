package reconciler

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/idempotency"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/reconciler/internal/sweep"
)

// Config of the reconciler.
type Config struct {
	// Interval between two sweeps. A sweep of a healthy system is a few indexed
	// queries without a result and one read for each running job.
	Interval time.Duration `env:"CODEXGW_RECONCILE_INTERVAL,default=1s" min:"10ms" doc:"Time between two sweeps for work that a crash left."`
	// Batch bounds how many jobs one sweep repairs per reason.
	Batch int `env:"CODEXGW_RECONCILE_BATCH,default=200" min:"1" max:"1000" doc:"Most jobs one sweep repairs for one reason."`
	// AnnounceAtStart tells the workers about every queued job once: for a
	// platform whose bus forgets at a restart.
	AnnounceAtStart bool `env:"CODEXGW_ANNOUNCE_AT_START,default=false" doc:"Announce every queued job at start; for a bus that forgets."`
}

// Deps of the reconciler.
type Deps struct {
	Jobs   *job.Store
	Docs   *docstore.Store
	Logger *slog.Logger
	Now    func() time.Time
}

// Service repairs until its context ends.
type Service struct {
	cfg   Config
	sweep *sweep.Sweeper
}

// New returns a service, or says which dependency is missing.
func New(cfg Config, d Deps) (*Service, error) {
	if d.Jobs == nil || d.Docs == nil || d.Logger == nil || d.Now == nil {
		return nil, errors.New("reconciler: Jobs, Docs, Logger and Now are required")
	}
	if cfg.Interval <= 0 || cfg.Batch <= 0 {
		return nil, errors.New("reconciler: CODEXGW_RECONCILE_INTERVAL and CODEXGW_RECONCILE_BATCH must be positive")
	}
	return &Service{cfg: cfg, sweep: &sweep.Sweeper{
		Jobs: d.Jobs, Claims: idempotency.NewStore(d.Docs), Leases: job.NewLeaseWatch(d.Now),
		Wishes: job.NewCancelWatch(d.Now), Batch: cfg.Batch, Logger: d.Logger, Now: d.Now,
	}}, nil
}

// Run sweeps until ctx ends. A failed sweep is logged and tried again at the
// next interval: the store being away is no reason to be away too.
func (s *Service) Run(ctx context.Context) error {
	if s.cfg.AnnounceAtStart {
		s.sweep.AnnounceAll(ctx)
	}
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	for {
		s.sweep.Once(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
