package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
)

// A start that failed is tried again after dispatchPause, doubled each time up
// to the caller's interval. One that worked without a claim following is tried
// again after the interval, doubled up to dispatchGrowth times: what never
// claims must not be started for ever at the same rate.
const (
	dispatchPause  = 5 * time.Second
	dispatchGrowth = 3
)

// Dispatch has a worker of its own started for a queued job that may be claimed,
// at most once in the interval "again" whoever calls it, and reports whether
// start was called. Which caller starts is decided before: by a compare-and-set
// that also plans the reconciler's next look, so that a caller that dies in
// between costs that much time and nothing else. A start may have worked although
// it failed, and then two workers come: the claim decides between them.
//
// A job that needs no worker is no error. It is safe to call from several
// reconcilers at once.
func (s *Store) Dispatch(ctx context.Context, jobID string, again time.Duration, start func(ctx context.Context) error) (bool, error) {
	j, err := s.read(ctx, jobID)
	if err != nil {
		if errs.CodeOf(err) == errs.NotFound {
			return false, nil
		}
		return false, err
	}
	now := s.Now()
	if j.State != Queued || j.Wait != Admitted || now.Before(j.StartAfter) {
		return false, nil
	}
	tries := j.Nudges
	j.Nudges++
	if err := s.startLater(ctx, j, now.Add(again<<min(tries, dispatchGrowth))); err != nil {
		if errors.Is(err, docstore.ErrConflict) {
			return false, nil // somebody claimed, ended or dispatched it
		}
		return false, err
	}
	if err := start(ctx); err != nil {
		soon := s.Now().Add(min(dispatchPause<<min(tries, 10), again))
		// The caller may be stopping; without this the job would wait the interval.
		if later := s.startLater(context.WithoutCancel(ctx), j, soon); later != nil && !errors.Is(later, docstore.ErrConflict) {
			err = errors.Join(err, later)
		}
		return true, fmt.Errorf("job: start a worker for %s: %w", jobID, err)
	}
	return true, nil
}

// startLater plans the next start and the reconciler's next look.
func (s *Store) startLater(ctx context.Context, j *Job, at time.Time) error {
	j.StartAfter = at
	j.due(DueClaim, at)
	w, err := j.save()
	if err != nil {
		return err
	}
	versions, err := s.Docs.Commit(ctx, []docstore.Write{w})
	if err != nil {
		return fmt.Errorf("job: dispatch %s: %w", j.ID, err)
	}
	j.version = versions[0]
	return nil
}
