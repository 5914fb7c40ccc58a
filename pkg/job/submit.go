package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/idempotency"
	"codexgateway.dev/pkg/wait"
)

// Submission is an accepted request for a job: already validated by the edge.
type Submission struct {
	Tenant string
	// SessionID or ConversationID continue a conversation; both empty: a new one.
	SessionID      string
	ConversationID string
	IdempotencyKey string
	Spec           Spec
	// RetryOf is the job this one repeats, see [Store.Retry].
	RetryOf string
	// KeyID is who submits it. It is no parameter: another key of the tenant that
	// repeats a submit gets the job of the first.
	KeyID string
}

// submitTries bounds the retries of a submit whose conversation or session was
// written by somebody else meanwhile. Each loser re-reads, so with MaxQueue
// submits at once to one session the last still fits.
const submitTries = 60

// Submit stores a job and tells the workers. It returns once the job is
// durable. replayed is true when the idempotency key had already created the
// returned job.
func (s *Store) Submit(ctx context.Context, sub Submission) (j *Job, replayed bool, err error) {
	if sub.Spec.Timeout == 0 {
		sub.Spec.Timeout = DefaultTimeout
	}
	params, err := idempotency.Hash(struct {
		Session, Conversation, RetryOf string
		Spec                           Spec
	}{sub.SessionID, sub.ConversationID, sub.RetryOf, sub.Spec})
	if err != nil {
		return nil, false, err
	}
	jobID := id.New(id.Job)
	for try := range submitTries {
		j, replayed, err = s.trySubmit(ctx, jobID, params, &sub, try == 0)
		if !errors.Is(err, docstore.ErrConflict) {
			break
		}
		// Jitter, or the same racers meet again in the same order.
		if !wait.For(ctx, rand.N(time.Duration(try+1)*2*time.Millisecond)) {
			return nil, false, context.Cause(ctx)
		}
	}
	if errors.Is(err, docstore.ErrConflict) {
		return nil, false, errs.Wrap(errs.Overloaded, "Too many submits to this conversation at once.", err)
	}
	if err != nil {
		return nil, false, err
	}
	if replayed {
		return j, true, nil
	}
	s.settleWait(ctx, j)
	return j, false, nil
}

// settleWait tells the workers of an admitted job, and looks again for a slot
// for one that has to wait for one.
func (s *Store) settleWait(ctx context.Context, j *Job) {
	switch j.Wait {
	case Admitted:
		s.announceJob(ctx, j)
	case WaitSlot:
		s.lookForSlots(ctx, j.Tenant)
	case WaitTurn:
		// Whoever ends the job before it moves it on.
	}
}

// lookForSlots admits what may be admitted. What fails is left to the
// reconciler: the job itself is stored.
func (s *Store) lookForSlots(ctx context.Context, tenant string) {
	if err := s.admitWaiting(context.WithoutCancel(ctx), tenant); err != nil {
		s.Logger.WarnContext(ctx, "waiting jobs not admitted, the reconciler will", slog.Any("error", err))
	}
}

// trySubmit is one optimistic attempt: job, first event, conversation and
// idempotency claim in one commit.
func (s *Store) trySubmit(ctx context.Context, jobID, params string, sub *Submission, first bool) (*Job, bool, error) {
	now := s.Now()
	var writes []docstore.Write
	if sub.IdempotencyKey != "" {
		earlier, claim, err := s.idem.Check(ctx, sub.Tenant, sub.IdempotencyKey, params, jobID, now)
		if err != nil {
			return nil, false, err
		}
		if earlier != "" {
			j, err := s.read(ctx, earlier)
			return j, earlier != jobID, err // its own: an answer got lost on the way
		}
		writes = append(writes, claim)
	}
	conv, err := s.conversationFor(ctx, sub, now)
	if err != nil {
		return nil, false, err
	}
	if err := conv.Push(jobID, now); err != nil {
		return nil, false, err
	}
	j := &Job{
		ID: jobID, Tenant: sub.Tenant, ConversationID: conv.ID, SessionID: conv.SessionID,
		State: Queued, Lane: lane(sub.Spec.Timeout), Timeout: sub.Spec.Timeout,
		Metadata: sub.Spec.Metadata, Model: sub.Spec.Model, CallbackURL: sub.Spec.CallbackURL,
		CreatedAt: now, LastSeq: 1, RetryOf: sub.RetryOf, KeyID: sub.KeyID, Priority: sub.Spec.Priority,
	}
	if conv.Head() == jobID {
		slot, err := s.seat(ctx, j, first)
		if err != nil {
			return nil, false, err
		}
		writes = append(writes, slot...)
	} else {
		j.park(WaitTurn, now)
	}
	if err := s.placeSpec(ctx, j, &sub.Spec); err != nil {
		return nil, false, err
	}
	batch, logWrite, err := s.Log.Prepare(ctx, eventlog.Position{JobID: jobID, First: 1, Attempt: firstAttempt, Writer: jobID},
		[]eventlog.Entry{{Type: eventlog.TypeQueued, Time: now, Data: queuedData(j)}})
	if err != nil {
		return nil, false, err
	}
	jobWrite, err := j.save()
	if err != nil {
		return nil, false, err
	}
	convWrites, err := conv.Save()
	if err != nil {
		return nil, false, err
	}
	writes = append(append(writes, jobWrite, logWrite), convWrites...)
	if err := s.commitSubmit(ctx, jobID, writes); err != nil {
		return nil, false, err
	}
	s.announceBatch(ctx, j.Tenant, batch)
	return j, false, nil
}

// commitSubmit commits and settles an unknown result by looking: a client that
// is told "failed" about a stored job would submit it twice.
func (s *Store) commitSubmit(ctx context.Context, jobID string, writes []docstore.Write) error {
	_, err := s.Docs.Commit(ctx, writes)
	if err == nil || errors.Is(err, docstore.ErrConflict) && !s.stored(ctx, jobID) {
		return err
	}
	if s.stored(ctx, jobID) {
		return nil
	}
	if errors.Is(err, docstore.ErrFull) {
		return errs.Wrap(errs.Overloaded, "The gateway's storage is full; nothing was stored.", err)
	}
	if errors.Is(err, docstore.ErrUnavailable) {
		return errs.Wrap(errs.Overloaded, "", err)
	}
	return fmt.Errorf("job: submit: %w", err)
}

// stored reports whether the job document exists.
func (s *Store) stored(ctx context.Context, jobID string) bool {
	_, err := s.Docs.Get(ctx, key(jobID))
	return err == nil
}

// conversationFor finds or makes the conversation of a submission.
func (s *Store) conversationFor(ctx context.Context, sub *Submission, now time.Time) (*conversation.Conversation, error) {
	switch {
	case sub.ConversationID != "":
		c, err := s.Conversations.Get(ctx, sub.Tenant, sub.ConversationID)
		if errs.CodeOf(err) == errs.NotFound && err != nil {
			return nil, &errs.Error{Code: errs.NotFound, Public: "There is no such conversation.", Field: "/conversation_id"}
		}
		return c, err
	case sub.SessionID != "":
		c, err := s.Conversations.BySession(ctx, sub.Tenant, sub.SessionID)
		if err != nil && errs.CodeOf(err) == errs.NotFound {
			return conversation.New(sub.Tenant, sub.SessionID, now), nil
		}
		return c, err
	default:
		return conversation.New(sub.Tenant, "", now), nil
	}
}

// placeSpec keeps a small spec in the document and puts a large one into a
// blob, before the commit that names it.
func (s *Store) placeSpec(ctx context.Context, j *Job, spec *Spec) error {
	raw, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("job: encode spec: %w", err)
	}
	if len(raw) <= inlineSpecBytes {
		j.Spec = spec
		return nil
	}
	j.SpecBlob = BlobDir(j.Tenant, j.ID) + "spec.json"
	if err := s.PutBlob(ctx, j.SpecBlob, raw); err != nil {
		// Nothing is stored yet, and the same submit may succeed later: a full
		// disk is the usual reason.
		return errs.Wrap(errs.Overloaded, "The job cannot be stored now; nothing was stored.", fmt.Errorf("job: write spec: %w", err))
	}
	return nil
}

// BlobDir is the prefix of everything a job keeps in blobs.
func BlobDir(tenant, jobID string) string { return "t/" + tenant + "/jobs/" + jobID + "/" }

// queuedData is the data of job.queued.
func queuedData(j *Job) json.RawMessage {
	return mustJSON(struct {
		ConversationID string `json:"conversation_id"`
		SessionID      string `json:"session_id,omitempty"`
		Lane           string `json:"lane"`
		TimeoutS       int64  `json:"timeout_s"`
	}{j.ConversationID, j.SessionID, j.Lane, int64(j.Timeout / time.Second)})
}

// mustJSON encodes a value of our own that cannot fail to encode.
func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("job: event data does not encode: %v", err))
	}
	return b
}
