package sweep

import (
	"context"
	"log/slog"
	"time"

	"codexgateway.dev/pkg/idempotency"
	"codexgateway.dev/pkg/job"
)

// announcePage is how many queued jobs are read at once at start.
const announcePage = 500

// leasePage is how many leases or cancels are read at once.
const leasePage = 500

// farFuture bounds "all queued jobs, whenever they are due".
const farFuture = 100 * 365 * 24 * time.Hour

// Sweeper finds due work and repairs it. One goroutine uses it.
type Sweeper struct {
	Jobs   *job.Store
	Claims *idempotency.Store
	Leases *job.LeaseWatch
	Wishes *job.CancelWatch
	Batch  int
	Logger *slog.Logger
	Now    func() time.Time
}

// Once repairs up to Batch jobs per reason and removes expired claims. Each
// repair stands alone: a poisoned job document must not keep the others waiting.
func (s *Sweeper) Once(ctx context.Context) {
	s.leases(ctx)
	s.cancels(ctx)
	for _, why := range job.Dues() {
		if why == job.DueLease {
			continue
		}
		due, _, err := s.Jobs.DueJobs(ctx, why, s.Now(), s.Batch, "")
		if err != nil {
			s.failed(ctx, "query", err, slog.String("due_for", string(why)))
			continue
		}
		for _, j := range due {
			s.repair(ctx, j)
		}
	}
	if _, err := s.Claims.Purge(ctx, s.Now(), s.Batch); err != nil {
		s.failed(ctx, "purge", err)
	}
}

// leases looks at every lease there is, for only who has seen a lease stand
// still may call it dead: one read for each running job. It does not ask the
// leases' own times, because they are of other clocks.
func (s *Sweeper) leases(ctx context.Context) {
	for cursor := ""; ; {
		jobs, next, err := s.Jobs.DueJobs(ctx, job.DueLease, s.Now().Add(farFuture), leasePage, cursor)
		if err != nil {
			s.failed(ctx, "query", err, slog.String("due_for", string(job.DueLease)))
			return
		}
		for _, j := range jobs {
			if s.Leases.Dead(j) {
				s.repair(ctx, j)
			}
		}
		if next == "" {
			s.Leases.EndRound()
			return
		}
		cursor = next
	}
}

// cancels settles what people wanted stopped and nobody has stopped.
func (s *Sweeper) cancels(ctx context.Context) {
	for cursor := ""; ; {
		open, next, err := s.Jobs.OpenCancels(ctx, leasePage, cursor)
		if err != nil {
			s.failed(ctx, "query", err)
			return
		}
		for _, c := range open {
			if err := s.Jobs.Enforce(ctx, c, s.Wishes); err != nil {
				s.failed(ctx, "cancel", err, slog.String("job_id", c.JobID))
			}
		}
		if next == "" {
			s.Wishes.EndRound()
			return
		}
		cursor = next
	}
}

func (s *Sweeper) repair(ctx context.Context, j *job.Job) {
	if ctx.Err() != nil {
		return
	}
	id, why := slog.String("job_id", j.ID), slog.String("due_for", string(j.DueFor))
	if err := s.Jobs.Repair(ctx, j); err != nil {
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
	s.Logger.LogAttrs(ctx, slog.LevelError, "repair step failed, the next sweep tries again", attrs...)
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
