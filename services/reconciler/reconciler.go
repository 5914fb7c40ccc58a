package reconciler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/wait"
	"codexgateway.dev/services/reconciler/internal/scale"
	"codexgateway.dev/services/reconciler/internal/sweep"
)

// Executions starts workers that run one job each.
type Executions interface {
	// Start returns when the platform has taken the order. An error may mean that
	// it was taken all the same.
	Start(ctx context.Context, jobID string) error
}

// Pool is a set of equal workers whose number can be set.
type Pool = scale.Pool

// Deps of the reconciler.
type Deps struct {
	Jobs *job.Store
	Docs *docstore.Store
	// Bus and Executions are for CODEXGW_EXECUTION_JOB, Pool is for CODEXGW_POOL;
	// nil where those are not set.
	Bus        bus.Receiver
	Executions Executions
	Pool       Pool
	Logger     *slog.Logger
	Now        func() time.Time
}

// Service repairs until its context ends.
type Service struct {
	cfg Config
	Deps

	// ticking, of capacity 1, is held by the tick that sweeps.
	ticking chan struct{}
	sweep   *sweep.Sweeper
	scaler  *scale.Scaler // nil: no pool
	// worked is whether the last sweep saw live work; whoever sweeps uses it.
	worked bool
	// stopping ends with Quiesce.
	stopping context.Context //nolint:containedctx // may come before Run
	stop     context.CancelFunc
}

// New returns a service, or says what is missing or wrong.
func New(cfg Config, d Deps) (*Service, error) {
	if d.Jobs == nil || d.Docs == nil || d.Logger == nil || d.Now == nil {
		return nil, errors.New("reconciler: Jobs, Docs, Logger and Now are required")
	}
	if err := errors.Join(cfg.Validate()...); err != nil {
		return nil, fmt.Errorf("reconciler: %w", err)
	}
	if cfg.TickFor <= 0 {
		cfg.TickFor = 55 * time.Second
	}
	s := &Service{cfg: cfg, Deps: d, ticking: make(chan struct{}, 1), sweep: &sweep.Sweeper{
		Jobs: d.Jobs, Docs: d.Docs, Leases: job.NewLeaseWatch(d.Now),
		Wishes: job.NewCancelWatch(d.Now), Batch: cfg.Batch, Upkeep: cfg.Upkeep, Logger: d.Logger, Now: d.Now,
	}}
	s.stopping, s.stop = context.WithCancel(context.Background())
	if cfg.ExecutionJob != "" {
		if d.Bus == nil || d.Executions == nil {
			return nil, errors.New("reconciler: Bus and Executions are required for CODEXGW_EXECUTION_JOB")
		}
		s.sweep.Start = s.startExecution
	}
	if cfg.Pool != "" {
		if d.Pool == nil {
			return nil, errors.New("reconciler: Pool is required for CODEXGW_POOL")
		}
		s.sweep.Count = min(cfg.PoolMax*cfg.PoolJobsPerInstance, docstore.MaxPage)
		s.scaler = &scale.Scaler{Pool: d.Pool, Logger: d.Logger, Now: d.Now, Bounds: scale.Bounds{
			PerInstance: cfg.PoolJobsPerInstance, Min: cfg.PoolMin, Max: cfg.PoolMax, ShrinkAfter: cfg.PoolShrinkAfter,
		}}
	}
	return s, nil
}

// Run sweeps until ctx ends or Quiesce is called; with CODEXGW_RECONCILE_INTAKE
// =tick it leaves the sweeps to [Service.Tick]. A failed sweep is logged and
// tried again: the store being away is no reason to be away too. An error means
// that the subscription of executions can never be opened.
func (s *Service) Run(ctx context.Context) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(s.stopping, stop)() //nolint:contextcheck // it ends with Quiesce, not with a caller
	if s.cfg.ExecutionJob != "" {
		var hearing sync.WaitGroup
		var deaf error
		hearing.Go(func() {
			deaf = s.hearLongJobs(ctx)
			stop()
		})
		defer func() {
			hearing.Wait()
			err = deaf
		}()
	}
	if s.cfg.Intake == IntakeTick {
		<-ctx.Done()
		return nil
	}
	if s.cfg.AnnounceAtStart {
		s.sweep.AnnounceAll(ctx)
	}
	for {
		pause := s.cfg.idle()
		if s.Sweep(ctx) {
			pause = s.cfg.Interval
		}
		if !wait.For(ctx, pause) {
			return nil
		}
	}
}

// Quiesce makes Run and every tick return soon.
func (s *Service) Quiesce(context.Context) error {
	s.stop()
	return nil
}

// Sweep repairs what is to be repaired now, once; live reports whether there is,
// or was a moment ago, work that the next should soon look at. A sweep asks for
// queued and for running jobs one after the other, so a job that is claimed or
// handed back in between is in neither answer: one look that finds nothing after
// work is no proof. It is for Run, for Tick, and for whoever counts what one
// costs, in place of them and not beside them.
func (s *Service) Sweep(ctx context.Context) (live bool) {
	load := s.sweep.Once(ctx)
	if s.scaler != nil && !load.Unknown {
		if err := s.scaler.Step(ctx, s.demand(&load)); err != nil && ctx.Err() == nil {
			s.Logger.WarnContext(ctx, "worker pool not sized, the next sweep tries again", slog.Any("error", err))
		}
	}
	live = load.Live() || s.worked
	s.worked = load.Live()
	return live
}

// demand is the part of the load that the pool is for: lane long has workers of
// its own where executions are started for it.
func (s *Service) demand(load *sweep.Load) scale.Demand {
	workers := map[string]bool{}
	for w := range load.Short.Workers {
		workers[w] = true
	}
	d := scale.Demand{Queued: load.Short.Queued, Running: load.Short.Running}
	if s.cfg.ExecutionJob == "" {
		d.Queued += load.Long.Queued
		d.Running += load.Long.Running
		for w := range load.Long.Workers {
			workers[w] = true
		}
	}
	d.Workers = len(workers)
	return d
}
