package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/id"
)

// maxNudge caps the time between two republications of a waiting job.
const maxNudge = 5 * time.Minute

// DueJobs returns jobs the reconciler should look at for a reason, most
// overdue first.
func (s *Store) DueJobs(ctx context.Context, why Due, before time.Time, limit int, cursor string) ([]*Job, string, error) {
	page, err := s.Docs.Query(ctx, docstore.Query{
		Collection: Collection, Index: "by_due", Equal: []any{string(why)},
		To: before.UnixMicro() + 1, Limit: limit, Cursor: cursor,
	})
	if err != nil {
		return nil, "", fmt.Errorf("job: due: %w", err)
	}
	jobs := make([]*Job, len(page.Docs))
	for i := range page.Docs {
		if jobs[i], err = decode(&page.Docs[i]); err != nil {
			return nil, "", err
		}
	}
	return jobs, page.Next, nil
}

// Repair does what is due for a job that was read by DueJobs; of one that is
// due for its lease the caller knows from a [LeaseWatch] that the lease is dead.
// It is safe to run from several reconcilers at once: each step is a
// compare-and-set on what was read, and whoever loses has nothing to do.
func (s *Store) Repair(ctx context.Context, j *Job) error {
	var err error
	switch j.DueFor {
	case DueClaim:
		err = s.nudge(ctx, j)
	case DueLease:
		err = s.requeue(ctx, j)
	case DueAdmit:
		err = s.readmit(ctx, j)
	case DueArchive:
		err = s.archiveLate(ctx, j)
	case DueExpire:
		err = s.expire(ctx, j)
	}
	if errors.Is(err, docstore.ErrConflict) || errors.Is(err, eventlog.ErrFenced) {
		return nil
	}
	return err
}

// Announce tells the workers about a queued job again, without a write. For a
// platform whose bus forgets at a restart.
func (s *Store) Announce(ctx context.Context, j *Job) { s.announceJob(ctx, j) }

// nudge republishes a queued job that nobody claimed, and plans the next look
// with doubling distance: a backlog must not become a storm.
func (s *Store) nudge(ctx context.Context, j *Job) error {
	if err := s.lookLater(ctx, j); err != nil {
		return err
	}
	s.announceJob(ctx, j)
	return nil
}

// lookLater plans the next look at a job that waits, twice as far as the last.
func (s *Store) lookLater(ctx context.Context, j *Job) error {
	wait := min(s.ClaimDelay<<min(j.Nudges+1, 16), maxNudge)
	j.Nudges++
	j.due(j.DueFor, s.Now().Add(wait))
	return s.put(ctx, j)
}

// put stores the document of a job on its own.
func (s *Store) put(ctx context.Context, j *Job) error {
	w, err := j.save()
	if err != nil {
		return err
	}
	if _, err := s.Docs.Commit(ctx, []docstore.Write{w}); err != nil {
		return fmt.Errorf("job: store %s: %w", j.ID, err)
	}
	return nil
}

// readmit admits the jobs of a tenant that has slots free although jobs wait,
// as a crash between a submit's commit and its second look can leave it. A job
// that still waits then is looked at again later.
func (s *Store) readmit(ctx context.Context, j *Job) error {
	if err := s.admitWaiting(ctx, j.Tenant); err != nil {
		return err
	}
	now, err := s.read(ctx, j.ID)
	if err != nil || now.DueFor != DueAdmit {
		return err
	}
	return s.lookLater(ctx, now)
}

// requeue takes a job from a holder whose lease is dead: the log's next key is
// written, so the holder is fenced whatever it still believes. The job keeps its
// tenant's slot.
func (s *Store) requeue(ctx context.Context, j *Job) error {
	if j.Lease == nil {
		return nil
	}
	now := s.Now()
	if ended, err := s.endInstead(ctx, j, true); ended || err != nil {
		return err
	}
	last, closed, err := s.Log.Tail(ctx, j.ID)
	if err != nil {
		return err
	}
	if closed {
		return nil
	}
	if err := j.to(Queued); err != nil {
		return err
	}
	j.Lease, j.LastSeq = nil, last+1
	j.due(DueClaim, now.Add(s.ClaimDelay))
	batch, logWrite, err := s.Log.Prepare(ctx, eventlog.Position{
		JobID: j.ID, First: last + 1, Attempt: j.Attempt, Writer: id.New(id.Claim),
	}, []eventlog.Entry{retrying(now, j.Attempt+1, string(errs.WorkerLost))})
	if err != nil {
		return err
	}
	if _, err := s.commitJob(ctx, j, logWrite); err != nil {
		return err
	}
	s.announceBatch(ctx, j.Tenant, batch)
	s.announceJob(ctx, j)
	return nil
}

// endInstead ends a job that must not be tried again: cancelled, out of time,
// or (lost) out of attempts.
func (s *Store) endInstead(ctx context.Context, j *Job, lost bool) (bool, error) {
	c, err := s.control(ctx, j.ID)
	if err != nil {
		return false, err
	}
	var r Result
	switch {
	case c.Cancelled():
		r = Result{State: Cancelled}
	case !j.StartedAt.IsZero() && !s.Now().Before(j.Deadline()):
		r = Result{State: TimedOut}
	case lost && j.Attempt >= MaxAttempts:
		r = Result{State: Failed, Error: NewError(errs.WorkerLost, "")}
	default:
		return false, nil
	}
	last := j.LastSeq
	if lost {
		var closed bool
		if last, closed, err = s.Log.Tail(ctx, j.ID); err != nil || closed {
			return closed, err
		}
	}
	return true, s.end(ctx, j, last, r)
}

// archiveLate writes the artifact of a closed log that was not archived when
// the job ended.
func (s *Store) archiveLate(ctx context.Context, j *Job) error {
	a, err := s.archive(ctx, j, s.logOf(j.ID), nil)
	if err != nil {
		return err
	}
	for i := range j.Artifacts {
		if j.Artifacts[i].Name == ArtifactEvents {
			j.Artifacts[i] = a
		}
	}
	s.dueAfterEnd(j)
	return s.put(ctx, j)
}
