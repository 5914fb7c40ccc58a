package runner

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/wait"
	"codexgateway.dev/services/worker/internal/pool"
	"codexgateway.dev/services/worker/internal/quota"
	"codexgateway.dev/services/worker/internal/workspace"
)

// Config of the runs of a worker.
type Config struct {
	// Lease is how long a job stays with a worker that says nothing.
	Lease time.Duration
	// Grace is how long an interrupted turn may take to end.
	Grace time.Duration
	// StallAfter is how long Codex may be silent.
	StallAfter time.Duration
	// Disk is how much a job's files may take, its workspace and its temporary
	// files together.
	Disk quota.Limits
	// Model is used when a job names none.
	Model string
	// Policy is what repositories may be and how large.
	Policy workspace.Policy
}

// Deps of the runner.
type Deps struct {
	Jobs   *job.Store
	Pool   *pool.Pool
	Logger *slog.Logger
	Now    func() time.Time
}

// Runner runs claimed jobs. Its methods may be called from anywhere.
type Runner struct {
	cfg Config
	Deps

	mu      sync.Mutex
	running map[string]*run
}

// New returns a runner.
func New(cfg Config, d Deps) *Runner {
	return &Runner{cfg: cfg, Deps: d, running: map[string]*run{}}
}

// Poke makes the run of a job look at its control document now: the fast path
// of a cancel. A job that does not run here is none of our business.
func (r *Runner) Poke(jobID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if run, ok := r.running[jobID]; ok {
		run.look()
	}
}

// PokeAll is Poke for every job that runs here: for what was told while nobody
// listened.
func (r *Runner) PokeAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, run := range r.running {
		run.look()
	}
}

// look makes the run read its control document.
func (u *run) look() {
	select {
	case u.poke <- struct{}{}:
	default: // it is about to look anyway
	}
}

// run is one claimed job under way.
type run struct {
	*Runner

	held *job.Held
	job  job.Job
	poke chan struct{} // capacity 1
	stop context.CancelCauseFunc
	// taken tells the disk watch of the slot; capacity 1.
	taken chan *pool.Slot
	// unguard ends the watchdogs of the turn: what comes after it, Codex and its
	// commands do not slow down or fill up.
	unguard context.CancelFunc
	log     *slog.Logger

	mu       sync.Mutex
	slot     *pool.Slot
	progress time.Time // when Codex was last heard of
}

// Run takes the claimed job to its end, or back. When ctx ends with
// ErrShutdown the job is handed back. The returned error is for the log: the
// job itself is settled as far as it can be.
func (r *Runner) Run(ctx context.Context, held *job.Held) error {
	j := held.Job()
	u := &run{
		Runner: r, held: held, job: j, poke: make(chan struct{}, 1), taken: make(chan *pool.Slot, 1), progress: time.Now(),
		log: r.Logger.With(slog.String("job_id", j.ID), slog.Int("attempt", j.Attempt)),
	}
	u.poke <- struct{}{} // what was asked for since the claim found no run to poke
	r.mu.Lock()
	r.running[j.ID] = u
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.running, j.ID)
		r.mu.Unlock()
	}()
	return u.do(ctx)
}

// do runs the job under its watchdogs and settles it. The heartbeat goes on
// until the job is settled, or collecting a large result would cost the lease.
func (u *run) do(parent context.Context) error {
	ctx, stop := context.WithCancelCause(parent)
	u.stop = stop
	defer stop(nil)
	ctx, cancelDeadline := context.WithDeadlineCause(ctx, time.Now().Add(u.held.Remaining()), errDeadline)
	defer cancelDeadline()

	var watch sync.WaitGroup
	watchCtx, endWatch := context.WithCancel(context.WithoutCancel(parent))
	guardCtx, unguard := context.WithCancel(watchCtx)
	u.unguard = unguard
	watch.Go(func() { u.heartbeat(watchCtx) })
	watch.Go(func() { u.watchStall(guardCtx) })
	watch.Go(func() { u.watchDisk(guardCtx) })

	work, err := u.work(ctx)
	unguard()
	settled := u.settle(ctx, watchCtx, work, err)
	endWatch()
	watch.Wait()
	u.mu.Lock()
	slot := u.slot
	u.mu.Unlock()
	if slot != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(parent), u.cfg.Grace)
		defer cancel()
		settled = errors.Join(settled, slot.Close(closing))
	}
	return settled
}

// settle ends the job, hands it back, or lets go of it.
func (u *run) settle(ctx, watchCtx context.Context, work result, err error) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, errLost):
		u.held.Abandon(errLost)
		return errLost
	case errors.Is(cause, ErrShutdown) && !work.whole:
		u.kill() // whoever gets it next must be the only one that runs it
		return u.handBack(watchCtx)
	}
	if work.whole {
		cause = nil // it ended by itself; whoever wanted to stop it came too late
	}
	o := judge(cause, err)
	if o.state != job.Completed {
		u.end(ctx) // its terminal event promises that nothing of it goes on
	}
	if err != nil {
		u.log.WarnContext(ctx, "run ended", slog.String("state", string(o.state)), slog.Any("error", err))
	}
	final := job.Result{
		State: o.state, Error: o.err, Usage: u.usage(), Model: work.model,
		Content: work.content, Structured: work.structured, Artifacts: work.artifacts, Thread: work.thread,
	}
	return u.finish(watchCtx, final)
}

// settleTime bounds the wait for a store that is away when a job is over.
const settleTime = 2 * time.Minute

// finish writes the end of the job and tries as long as the lease is ours: the
// watch context ends with the run, a lost lease ends the tries.
func (u *run) finish(ctx context.Context, r job.Result) error {
	return u.insist(ctx, func(ctx context.Context) error { return u.held.Finish(ctx, r) })
}

func (u *run) handBack(ctx context.Context) error {
	return u.insist(ctx, func(ctx context.Context) error { return u.held.HandBack(ctx, u.usage()) })
}

// insist retries a settling commit while the store is away. When it gives up
// the job keeps its lease and the reconciler finds it.
func (u *run) insist(ctx context.Context, commit func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleTime, errors.New("runner: store away at the end of the job"))
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := commit(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, job.ErrLeaseLost) || ctx.Err() != nil {
			u.held.Abandon(err)
			return err
		}
		u.log.WarnContext(ctx, "end of job not stored yet", slog.Any("error", err))
		u.kill() // a store that is away must not keep Codex running
		wait.For(ctx, pause)
	}
}

// usage is what the model has cost in this claim so far.
func (u *run) usage() job.Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.slot == nil {
		return job.Usage{}
	}
	s := u.slot.Session.Usage()
	return job.Usage{Input: s.InputTokens, CachedInput: s.CachedInputTokens, Output: s.OutputTokens, Reasoning: s.ReasoningTokens}
}
