package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/worker/codexversion"
	"codexgateway.dev/services/worker/internal/broker"
	"codexgateway.dev/services/worker/internal/jail"
	"codexgateway.dev/services/worker/internal/pool"
	"codexgateway.dev/services/worker/internal/quota"
	"codexgateway.dev/services/worker/internal/runner"
	"codexgateway.dev/services/worker/internal/workspace"
)

// Deps of the worker.
type Deps struct {
	Jobs    *job.Store
	Bus     *bus.Bus
	Secrets *secret.Secrets
	Logger  *slog.Logger
	Now     func() time.Time
	// Version is the gateway's own.
	Version string
	// Hide are paths that no job may see: the gateway's data, its keys.
	Hide []string
}

// Service runs jobs until its context ends.
type Service struct {
	cfg Config
	Deps

	id       string
	cli      codexversion.Package
	launcher *jail.Launcher
	broker   *broker.Broker
	pool     *pool.Pool
	runner   *runner.Runner

	ready chan struct{} // closed when the worker takes jobs
	// running is closed when the first job runs.
	running  chan struct{}
	firstRun sync.Once
	quiesced context.Context //nolint:containedctx // ends with Quiesce, which may come before Run
	quiesce  context.CancelFunc
}

// New returns a service, or says what is missing or wrong: a dependency, a
// setting, the Codex CLI. It starts no program: whether that CLI is of the right
// release is a check of Run, which comes when the process listens.
func New(cfg Config, d Deps) (*Service, error) {
	if d.Jobs == nil || d.Bus == nil || d.Secrets == nil || d.Logger == nil || d.Now == nil {
		return nil, errors.New("worker: Jobs, Bus, Secrets, Logger and Now are required")
	}
	if err := errors.Join(cfg.Validate()...); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	cli, err := codexversion.Locate(cfg.Codex)
	if err != nil {
		return nil, errs.Wrap(errs.CodexMissing, "The Codex CLI is missing: run `make setup`, or name it with --codex or CODEXGW_CODEX.", err)
	}
	if cfg.Intake == IntakeOnce {
		cfg.Concurrency, cfg.Warm = 1, 0 // the one job starts its own Codex
	}
	s := &Service{
		cfg: cfg, Deps: d, id: id.New(id.Worker), cli: cli,
		ready: make(chan struct{}), running: make(chan struct{}),
	}
	s.quiesced, s.quiesce = context.WithCancel(context.Background())
	return s, nil
}

// assemble builds the parts, lowest first.
func (s *Service) assemble(mode jail.Mode) error {
	policy, err := s.policy()
	if err != nil {
		return err
	}
	slots := filepath.Join(s.cfg.DataDir, "slots")
	s.launcher, err = jail.Open(jail.Config{Mode: mode, Codex: s.cli.Dir, Hide: s.Hide, Mark: markOf(slots)})
	if err != nil {
		return err
	}
	s.broker, err = broker.New(broker.Options{
		BaseURL: s.cfg.ModelBaseURL, Logger: s.Logger, Now: s.Now,
		Retry: broker.Retry{MaxAttempts: s.cfg.ModelRetries, MaxWait: s.cfg.ModelRetryWait},
		Key:   func(ctx context.Context) (secret.Value, error) { return s.Secrets.Get(ctx, s.cfg.ModelKeySecret) },
	})
	if err != nil {
		return fmt.Errorf("worker: CODEXGW_MODEL_BASE_URL: %w", err)
	}
	s.pool, err = pool.New(pool.Config{
		Dir: slots, Warm: s.cfg.Warm, StartTimeout: startTimeout, Version: s.Version, Limits: s.cfg.limits(),
	}, pool.Deps{Launcher: s.launcher, Broker: s.broker, Logger: s.Logger, Policy: policy})
	if err != nil {
		return err
	}
	s.runner = runner.New(runner.Config{
		Lease: s.cfg.Lease, Grace: s.cfg.Grace, StallAfter: s.cfg.StallAfter, Model: s.cfg.Model, Policy: policy,
		Disk: quota.Limits{Bytes: s.cfg.JobDiskBytes, Files: s.cfg.JobDiskFiles},
	}, runner.Deps{Jobs: s.Jobs, Pool: s.pool, Logger: s.Logger, Now: s.Now})
	return nil
}

// startTimeout bounds the start of one Codex process on a loaded machine.
const startTimeout = 60 * time.Second

func (s *Service) policy() (workspace.Policy, error) {
	allow, err := s.cfg.egress()
	return workspace.Policy{AllowFile: s.cfg.RepoAllowFile, MaxBytes: s.cfg.RepoMaxBytes, AllowAddrs: allow}, err
}

// markOf names the jails of the worker that owns a directory of slots: the same
// after a restart, and no other worker's.
func markOf(slots string) string {
	if abs, err := filepath.Abs(slots); err == nil {
		slots = abs
	}
	sum := sha256.Sum256([]byte(slots))
	return "codexgw-jail-" + hex.EncodeToString(sum[:8])
}

// Ready returns nil once the worker takes jobs. It waits for that until ctx
// ends: the check of the machine takes a second or two after the start, and
// whoever announces the worker must not do so before.
func (s *Service) Ready(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("worker: not ready: %w", ctx.Err())
	}
}

// Run takes jobs until ctx ends or Quiesce is called, hands back what it has not
// finished, and leaves no process behind. It fails at once where jobs cannot run
// safely. A worker of one job ends with it.
func (s *Service) Run(ctx context.Context) error {
	defer s.close(context.WithoutCancel(ctx))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(s.quiesced, stop)() //nolint:contextcheck // it ends with Quiesce, not with a caller
	mode, err := s.check(ctx)
	if ctx.Err() != nil {
		return nil // asked to end while it looked: what it found says nothing
	}
	if err != nil {
		return err
	}
	if err := s.assemble(mode); err != nil {
		return err
	}
	close(s.ready)
	jobs, stopJobs := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopJobs(nil)
	defer context.AfterFunc(ctx, func() { stopJobs(runner.ErrShutdown) })()

	// The pool outlives the intake: a job being handed back still holds a slot.
	poolCtx, stopPool := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPool()
	var poolErr, controlErr error
	var pooled, controlled sync.WaitGroup
	pooled.Go(func() { poolErr = s.pool.Run(poolCtx) })

	intakeCtx, stopIntake := context.WithCancel(ctx)
	defer stopIntake()
	controlled.Go(func() {
		if controlErr = s.hearControl(intakeCtx); controlErr != nil {
			stopIntake()
		}
	})
	err = s.takeJobs(intakeCtx, jobs)
	stopIntake()
	controlled.Wait()
	stopPool()
	pooled.Wait()
	return errors.Join(err, controlErr, poolErr)
}

// Quiesce makes Run stop taking jobs and hand back those it runs. A process that
// also serves requests calls it before it waits for them: a pushed job is a
// request, and ends when its job is handed back.
func (s *Service) Quiesce(context.Context) error {
	s.quiesce()
	return nil
}

// close ends what New and Run have opened.
func (s *Service) close(ctx context.Context) {
	if s.broker != nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := s.broker.Close(ctx); err != nil {
			s.Logger.WarnContext(ctx, "broker did not close cleanly", slog.Any("error", err))
		}
	}
	if s.launcher != nil {
		s.launcher.Close()
	}
}
