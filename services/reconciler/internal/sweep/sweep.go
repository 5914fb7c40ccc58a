package sweep

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/idempotency"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/ratelimit"
	"codexgateway.dev/pkg/ticket"
)

// announcePage is how many queued jobs are read at once at start.
const announcePage = 500

// leasePage is how many leases or cancels are read at once.
const leasePage = 500

// farFuture bounds "all queued jobs, whenever they are due".
const farFuture = 100 * 365 * 24 * time.Hour

// purgeEvery is how often expired documents are looked for.
const purgeEvery = time.Hour

// Sweeper finds due work and repairs it. One goroutine uses it.
type Sweeper struct {
	Jobs *job.Store
	// Docs holds the collections whose expired documents nobody else removes.
	Docs   *docstore.Store
	Leases *job.LeaseWatch
	Wishes *job.CancelWatch
	Batch  int
	// Upkeep is how often an idle gateway is looked through for what is not
	// urgent, see [Sweeper.Once]; 0: at every sweep.
	Upkeep time.Duration
	// Count is how many queued jobs are counted at most; 0: it is only looked
	// whether there is one.
	Count int
	// Start has a worker of its own started for a queued job of lane long; nil:
	// there are workers for that lane, who are told instead.
	Start  func(ctx context.Context, jobID string) error
	Logger *slog.Logger
	Now    func() time.Time

	upkept time.Time // when the last upkeep was
	purged time.Time // when expired documents were last looked for
}

// Once repairs up to Batch jobs per reason, removes what has expired and returns
// what it saw. Each repair stands alone: a poisoned job document must not keep
// the others waiting.
//
// An idle gateway is asked two questions, is anything leased and is anything
// queued. What can only be there beside such jobs (cancels, jobs that wait for a
// slot) is looked for when the answer is yes; all else, and what a crash left of
// those, once in Upkeep. Nothing is written when nothing is due.
func (s *Sweeper) Once(ctx context.Context) Load {
	load := s.leases(ctx)
	s.queued(ctx, &load)
	upkeep := s.Now().Sub(s.upkept) >= s.Upkeep
	if load.Live() || upkeep {
		load.Cancels = s.cancels(ctx)
		s.due(ctx, job.DueAdmit)
	}
	if upkeep {
		s.due(ctx, job.DueArchive)
		s.due(ctx, job.DueExpire)
		s.upkept = s.Now()
	}
	if s.Now().Sub(s.purged) >= purgeEvery {
		s.purge(ctx)
	}
	return load
}

// purge removes what has expired and is in nobody's way: its readers look at the
// time themselves.
func (s *Sweeper) purge(ctx context.Context) {
	s.purged = s.Now()
	for _, collection := range purgeable() {
		n, err := s.Docs.PurgeExpired(ctx, collection, s.Now(), s.Batch)
		if err != nil {
			s.failed(ctx, "purge", err, slog.String("collection", collection))
		}
		if n > 0 {
			s.purged = time.Time{} // there may be more
		}
	}
}

// purgeable are the collections that are purged together.
func purgeable() []string {
	return []string{idempotency.Collection, ratelimit.Collection, ticket.Collection, audit.Collection}
}

// queued counts the jobs that may be claimed, and repairs those that have
// waited for too long.
func (s *Sweeper) queued(ctx context.Context, load *Load) {
	jobs, _, err := s.Jobs.DueJobs(ctx, job.DueClaim, s.Now().Add(farFuture), max(s.Count, 1), "")
	if err != nil {
		s.failed(ctx, "query", err, slog.String("due_for", string(job.DueClaim)))
		load.Unknown = true
		return
	}
	for _, j := range jobs {
		load.queued(j)
	}
	if len(jobs) > 0 && !s.Now().Before(jobs[0].DueAt) {
		s.due(ctx, job.DueClaim)
	}
}

// due repairs what is due for one reason.
func (s *Sweeper) due(ctx context.Context, why job.Due) {
	jobs, _, err := s.Jobs.DueJobs(ctx, why, s.Now(), s.Batch, "")
	if err != nil {
		s.failed(ctx, "query", err, slog.String("due_for", string(why)))
		return
	}
	for _, j := range jobs {
		s.repair(ctx, j)
	}
}

// leases looks at every lease there is, for only who has seen a lease stand
// still may call it dead: one read for each running job. It does not ask the
// leases' own times, because they are of other clocks.
func (s *Sweeper) leases(ctx context.Context) (load Load) {
	for cursor := ""; ; {
		jobs, next, err := s.Jobs.DueJobs(ctx, job.DueLease, s.Now().Add(farFuture), leasePage, cursor)
		if err != nil {
			s.failed(ctx, "query", err, slog.String("due_for", string(job.DueLease)))
			load.Unknown = true
			return load
		}
		for _, j := range jobs {
			load.running(j)
			if s.Leases.Dead(j) {
				s.repair(ctx, j)
			}
		}
		if next == "" {
			s.Leases.EndRound()
			return load
		}
		cursor = next
	}
}

// cancels settles what people wanted stopped and nobody has stopped, and
// returns how many there were.
func (s *Sweeper) cancels(ctx context.Context) (n int) {
	for cursor := ""; ; {
		open, next, err := s.Jobs.OpenCancels(ctx, leasePage, cursor)
		if err != nil {
			s.failed(ctx, "query", err)
			return n
		}
		n += len(open)
		for _, c := range open {
			if err := s.Jobs.Enforce(ctx, c, s.Wishes); err != nil {
				s.failed(ctx, "cancel", err, slog.String("job_id", c.JobID))
			}
		}
		if next == "" {
			s.Wishes.EndRound()
			return n
		}
		cursor = next
	}
}

func (s *Sweeper) repair(ctx context.Context, j *job.Job) {
	if ctx.Err() != nil {
		return
	}
	id, why := slog.String("job_id", j.ID), slog.String("due_for", string(j.DueFor))
	fix := func() error { return s.Jobs.Repair(ctx, j) }
	if s.Start != nil && j.DueFor == job.DueClaim && j.Lane == job.LaneLong {
		fix = func() error { return s.Start(ctx, j.ID) }
	}
	if err := fix(); err != nil {
		s.failed(ctx, "repair", err, id, why)
		return
	}
	s.Logger.InfoContext(ctx, "job repaired", id, why)
}

// failed logs what did not work, unless the service is just stopping.
func (s *Sweeper) failed(ctx context.Context, step string, err error, attrs ...slog.Attr) {
	if ctx.Err() != nil {
		return
	}
	attrs = append(attrs, slog.String("step", step), slog.Any("error", err))
	level := slog.LevelError
	if errors.Is(err, docstore.ErrUnavailable) {
		level = slog.LevelWarn // it is away or slow, which readiness tells; nobody has to look at this
	}
	s.Logger.LogAttrs(ctx, level, "repair step failed, the next sweep tries again", attrs...)
}

// AnnounceAll tells the workers about every queued job.
func (s *Sweeper) AnnounceAll(ctx context.Context) {
	for cursor := ""; ; {
		jobs, next, err := s.Jobs.DueJobs(ctx, job.DueClaim, s.Now().Add(farFuture), announcePage, cursor)
		if err != nil {
			s.failed(ctx, "announce", err)
			return
		}
		for _, j := range jobs {
			s.Jobs.Announce(ctx, j)
		}
		if next == "" {
			return
		}
		cursor = next
	}
}
