package job

import (
	"context"
	"errors"
	"fmt"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
)

// expire removes the documents of an ended job's log. Its artifact is then the
// only copy, so it must be there, whole.
func (s *Store) expire(ctx context.Context, j *Job) error {
	a := j.artifact(ArtifactEvents)
	if a == nil {
		return fmt.Errorf("job: expire %s: its log has no artifact", j.ID)
	}
	if err := s.whole(ctx, a); err != nil {
		return fmt.Errorf("job: expire %s: %w", j.ID, err)
	}
	if err := s.Log.Expire(ctx, j.ID); err != nil {
		return err
	}
	j.due("", j.DueAt)
	return s.put(ctx, j)
}

// Events reads logs for watchers: from documents, and from the artifact where
// those have expired. It is what the edge reads through.
type Events struct{ s *Store }

// Events returns the reader of logs.
func (s *Store) Events() Events { return Events{s} }

// Read is [eventlog.Store.Read] for logs of any age. not_found: there is no
// such job.
func (e Events) Read(ctx context.Context, jobID string, after int64, limit int) (*eventlog.Page, error) {
	page, err := e.s.Log.Read(ctx, jobID, after, limit)
	if !errors.Is(err, eventlog.ErrGap) {
		return page, err
	}
	j, readErr := e.s.read(ctx, jobID)
	if readErr != nil {
		return nil, readErr
	}
	a := j.artifact(ArtifactEvents)
	if a == nil {
		return nil, errs.Wrap(errs.NotFound, "These events have expired.", err)
	}
	return e.s.Log.ReadArchive(ctx, eventlog.Archived{Blob: a.Blob, Data: a.Inline, Size: a.Size, Frames: a.Frames, LastSeq: j.LastSeq}, after, limit)
}

// Tail is [eventlog.Store.Tail] for logs of any age.
func (e Events) Tail(ctx context.Context, jobID string) (last int64, closed bool, err error) {
	last, closed, err = e.s.Log.Tail(ctx, jobID)
	if err != nil || last > 0 {
		return last, closed, err
	}
	j, err := e.s.read(ctx, jobID)
	if err != nil {
		return 0, false, err
	}
	return j.LastSeq, j.State.Terminal(), nil
}
