package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/wait"
)

// Names of artifacts.
const (
	ArtifactDiff      = "diff.patch"
	ArtifactMessage   = "last_message.txt"
	ArtifactEvents    = "events.jsonl.zst"
	ArtifactWorkspace = "workspace.tar.zst"
)

// endTries bounds the retries of a terminal commit that only lost against a
// submit to the same conversation.
const endTries = 60

// NewError builds the error of a failed job from a registered code.
func NewError(code errs.Code, message string) *events.JobError {
	row := errs.Lookup(code)
	if message == "" {
		message = row.Message
	}
	return &events.JobError{Code: string(code), Message: message, Retryable: row.Retryable}
}

// applyResult writes a result into the document.
func (s *Store) applyResult(ctx context.Context, j *Job, r *Result, at time.Time) error {
	if err := j.to(r.State); err != nil {
		return err
	}
	j.EndedAt = at
	j.Lease = nil
	s.dueAfterEnd(j)
	j.Content, j.Structured, j.Error = r.Content, r.Structured, r.Error
	j.Usage = j.Usage.Plus(r.Usage)
	j.Artifacts = r.Artifacts
	if r.Model != "" {
		j.Model = r.Model
	}
	// What counts is the encoded size: a control character is six bytes of JSON,
	// and a document that is too large would keep the job from ending.
	if len(mustJSON(j.Content))+len(j.Structured) > inlineTextBytes {
		j.ContentBlob = BlobDir(j.Tenant, j.ID) + fmt.Sprintf("a%d/content.txt", j.Attempt)
		if err := s.PutBlob(ctx, j.ContentBlob, []byte(j.Content)); err != nil {
			return fmt.Errorf("job: write content: %w", err)
		}
		// A structured answer is the content parsed: readers parse it again.
		j.Content, j.Structured = "", nil
	}
	return nil
}

// dueAfterEnd plans when the log's documents may go.
func (s *Store) dueAfterEnd(j *Job) {
	j.due("", time.Time{})
	if s.LogRetention > 0 {
		j.due(DueExpire, j.EndedAt.Add(s.LogRetention))
	}
}

// endEntry is the terminal event of a job in its terminal state: each has the
// event type of its own name.
func endEntry(j *Job) eventlog.Entry {
	names := make([]string, len(j.Artifacts))
	for i, a := range j.Artifacts {
		names[i] = a.Name
	}
	return eventlog.Entry{Type: "job." + string(j.State), Time: j.EndedAt, Data: mustJSON(struct {
		Status     string           `json:"status"`
		Content    string           `json:"content,omitempty"`
		Structured json.RawMessage  `json:"structured,omitempty"`
		Error      *events.JobError `json:"error,omitempty"`
		Model      string           `json:"model,omitempty"`
		Usage      any              `json:"usage"`
		Artifacts  []string         `json:"artifacts"`
	}{string(j.State), j.Content, j.Structured, j.Error, j.Model, usageView(j.Usage), names})}
}

// packed is a log that is read and packed for its artifact.
type packed func(ctx context.Context, closing *eventlog.Batch) ([]byte, []eventlog.Frame, error)

// logOf packs the log as its documents have it.
func (s *Store) logOf(jobID string) packed {
	return func(ctx context.Context, closing *eventlog.Batch) ([]byte, []eventlog.Frame, error) {
		return s.Log.Archive(ctx, jobID, closing)
	}
}

// archiveInto writes the log's artifact before the log is closed, so that a
// job that has ended has all its artifacts. A failure must not keep the job
// from ending: the reconciler then archives later.
func (s *Store) archiveInto(ctx context.Context, j *Job, log packed, closing *eventlog.Batch) {
	a, err := s.archive(ctx, j, log, closing)
	if err != nil {
		s.Logger.WarnContext(ctx, "event log not archived yet", slog.String("job_id", j.ID), slog.Any("error", err))
		j.due(DueArchive, j.EndedAt)
	}
	for i := range j.Artifacts {
		if j.Artifacts[i].Name == ArtifactEvents {
			j.Artifacts[i] = a
			return
		}
	}
	j.Artifacts = append(j.Artifacts, a)
}

// archive writes the log's artifact. The name carries the attempt and the
// writer: a zombie must not overwrite what the winner's document names.
func (s *Store) archive(ctx context.Context, j *Job, log packed, closing *eventlog.Batch) (Artifact, error) {
	a := Artifact{Name: ArtifactEvents, ContentType: "application/zstd"}
	data, frames, err := log(ctx, closing)
	if err != nil {
		return a, err
	}
	a.Frames = frames
	return s.KeepArtifact(ctx, j, a, data)
}

// commitEnd commits the terminal document, the closing batch, the conversation
// without the job, and what the end means for other jobs. It reads those anew
// for each try: a submit, a cancel or another end may have written them.
func (s *Store) commitEnd(ctx context.Context, j *Job, logWrite docstore.Write, t *conversation.Thread) (*succession, error) {
	for try := range endTries {
		conv, err := s.Conversations.Get(ctx, j.Tenant, j.ConversationID)
		if err != nil {
			return nil, fmt.Errorf("job: end %s: %w", j.ID, err)
		}
		conv.Pop(j.ID, t, s.Now())
		writes, err := conv.Save()
		if err != nil {
			return nil, err
		}
		next, err := s.succeed(ctx, j, conv)
		if err != nil {
			return nil, err
		}
		ended := *j
		ended.Wait, ended.Slot = Admitted, 0
		version, err := s.commitJob(ctx, &ended, logWrite, append(writes, next.writes...)...)
		if err == nil {
			*j = ended
			j.version = version
			return next, nil
		}
		if !othersConflict(err, j.ID) {
			return nil, err
		}
		if !wait.For(ctx, rand.N(time.Duration(try+1)*time.Millisecond)) {
			return nil, context.Cause(ctx)
		}
	}
	return nil, fmt.Errorf("job: end %s: its conversation and tenant are written too often: %w", j.ID, docstore.ErrUnavailable)
}

// othersConflict reports whether a commit lost a race over a document that is
// not the job's own nor its log's: it may be tried again.
func othersConflict(err error, jobID string) bool {
	var conflict *docstore.ConflictError
	return errors.As(err, &conflict) && conflict.Key != key(jobID) && conflict.Key.Collection != eventlog.Collection
}

// afterEnd tells the world what the commit has already made true.
func (s *Store) afterEnd(ctx context.Context, j *Job, next *succession) {
	s.announceEnd(ctx, j)
	for _, admitted := range next.admitted {
		s.announceJob(ctx, admitted)
	}
	if next.look {
		s.lookForSlots(ctx, j.Tenant)
	}
}

// end ends a job that nobody holds: cancelled while queued, or given up. The
// caller has just read j and knows the log's last seq.
func (s *Store) end(ctx context.Context, j *Job, last int64, r Result) error {
	r.Artifacts = append(r.Artifacts, Artifact{Name: ArtifactEvents})
	if err := s.applyResult(ctx, j, &r, s.Now()); err != nil {
		return err
	}
	batch, logWrite, err := s.Log.Prepare(ctx, eventlog.Position{
		JobID: j.ID, First: last + 1, Attempt: max(j.Attempt, firstAttempt), Writer: id.New(id.Claim), Closed: true,
	}, []eventlog.Entry{endEntry(j)})
	if err != nil {
		return err
	}
	j.LastSeq = batch.LastSeq
	s.archiveInto(ctx, j, s.logOf(j.ID), batch)
	next, err := s.commitEnd(ctx, j, logWrite, r.Thread)
	if err != nil {
		return err
	}
	s.announceBatch(ctx, j.Tenant, batch)
	s.afterEnd(ctx, j, next)
	return nil
}
