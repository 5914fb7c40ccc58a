package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/wait"
)

// A worker of one job tries its claim for claimWait while the store is away,
// with pauses from claimPause doubling. After it the process fails, and whoever
// started it starts another.
const (
	claimWait  = time.Minute
	claimPause = 250 * time.Millisecond
)

// runOnce runs the one job this worker was started for. It returns nil when the
// job is settled, by this worker or by anybody else: there is then nothing that
// another start could do. An error means that the job could not be tried.
func (s *Service) runOnce(ctx context.Context) error {
	held, err := s.claimInsisting(ctx)
	switch {
	case err == nil:
	case errors.Is(err, job.ErrEnded), errors.Is(err, job.ErrLeased), errors.Is(err, job.ErrNotAdmitted):
		s.Logger.InfoContext(ctx, "the job is not this worker's to run", slog.String("job_id", s.cfg.JobID), slog.String("reason", err.Error()))
		return nil // each says that there is nothing to do here
	case ctx.Err() != nil:
		return nil //nolint:nilerr // asked to end before it began
	default:
		return fmt.Errorf("worker: claim %s: %w", s.cfg.JobID, err)
	}
	s.run(ctx, held)
	return nil
}

// claimInsisting claims the job, through a store that is away for a while.
func (s *Service) claimInsisting(ctx context.Context) (*job.Held, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, claimWait, errors.New("worker: the store was away for too long"))
	defer cancel()
	for pause := claimPause; ; pause *= 2 {
		held, err := s.claim(ctx, s.cfg.JobID)
		if !errors.Is(err, docstore.ErrUnavailable) {
			return held, err
		}
		s.Logger.WarnContext(ctx, "claim failed", slog.String("job_id", s.cfg.JobID), slog.Any("error", err))
		if !wait.For(ctx, pause) {
			return nil, err
		}
	}
}
