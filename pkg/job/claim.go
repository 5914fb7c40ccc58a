package job

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/id"
)

// Why a claim did not succeed. Each tells the worker what to do with the message.
var (
	// ErrEnded: the job is terminal; ack the message.
	ErrEnded = errors.New("job: already ended")
	// ErrLeased: another claim's lease is alive; put the message back.
	ErrLeased = errors.New("job: leased to another worker")
	// ErrNotAdmitted: the job waits for its turn or for a slot; ack the message,
	// whoever admits the job announces it again.
	ErrNotAdmitted = errors.New("job: not admitted yet")
	// ErrLeaseLost: the claim is no longer valid; stop without a further effect.
	ErrLeaseLost = errors.New("job: lease lost")
)

// claimTries bounds the retries of a claim that lost a race and may win the next.
const claimTries = 5

// ClaimOptions say who claims.
type ClaimOptions struct {
	Worker string
	Lease  time.Duration
	// Grace is how long the worker gives a turn that is to stop.
	Grace      time.Duration
	DeltaDelay time.Duration
	Merge      eventlog.MergeFunc
}

// Claim makes the caller the one worker that runs the job: queued → running, as
// one compare-and-set together with a log batch. A job under a lease is never
// claimed, however old the lease looks: the clock that wrote it may be another
// one, and [LeaseWatch] decides. A job that only waits to be ended (cancelled,
// out of time) is ended here and ErrEnded returned.
func (s *Store) Claim(ctx context.Context, jobID string, opt ClaimOptions) (*Held, error) {
	for range claimTries {
		h, err := s.tryClaim(ctx, jobID, opt)
		if !errors.Is(err, docstore.ErrConflict) && !errors.Is(err, eventlog.ErrFenced) {
			return h, err
		}
	}
	return nil, ErrLeased // whoever keeps winning holds it
}

func (s *Store) tryClaim(ctx context.Context, jobID string, opt ClaimOptions) (*Held, error) {
	j, err := s.read(ctx, jobID)
	if err != nil {
		return nil, err
	}
	switch {
	case j.State.Terminal():
		return nil, ErrEnded
	case j.State != Queued:
		return nil, ErrLeased
	case j.Wait != Admitted:
		return nil, ErrNotAdmitted
	}
	conv, err := s.Conversations.Get(ctx, j.Tenant, j.ConversationID)
	if err != nil {
		return nil, fmt.Errorf("job: claim %s: %w", jobID, err)
	}
	if ended, err := s.endInstead(ctx, j, false); ended || err != nil {
		if err == nil {
			err = ErrEnded
		}
		return nil, err
	}
	return s.commitClaim(ctx, j, conv, opt)
}

// commitClaim writes the claim.
func (s *Store) commitClaim(ctx context.Context, j *Job, conv *conversation.Conversation, opt ClaimOptions) (*Held, error) {
	now := s.Now()
	if !j.HandedBack {
		j.Attempt++
	}
	j.HandedBack, j.StartAfter = false, time.Time{}
	if j.StartedAt.IsZero() {
		j.StartedAt = now
	}
	if err := j.to(Running); err != nil {
		return nil, err
	}
	owner := id.New(id.Claim)
	j.Lease = &Lease{Owner: owner, Worker: opt.Worker, ExpiresAt: now.Add(opt.Lease), Length: opt.Lease, Grace: opt.Grace}
	j.due(DueLease, j.Lease.ExpiresAt)
	j.LastSeq++
	batch, logWrite, err := s.Log.Prepare(ctx, eventlog.Position{
		JobID: j.ID, First: j.LastSeq, Attempt: j.Attempt, Writer: owner,
	}, []eventlog.Entry{{Type: eventlog.TypeStarted, Time: now, Data: mustJSON(struct {
		Attempt int    `json:"attempt"`
		Worker  string `json:"worker"`
	}{j.Attempt, opt.Worker})}})
	if err != nil {
		return nil, err
	}
	version, err := s.commitJob(ctx, j, logWrite)
	if err != nil {
		return nil, err
	}
	if version == 0 { // the lease was taken away before the claim was known to have landed
		return nil, fmt.Errorf("job: claim %s: %w", j.ID, docstore.ErrConflict)
	}
	j.version = version
	s.announceBatch(ctx, j.Tenant, batch)
	return s.hold(ctx, j, conv, batch, opt), nil
}

// commitJob commits j with one log batch (and more), and settles an unknown
// result by reading the batch back. The version is 0 when the commit landed and
// somebody has written the document since: with the newer version the caller
// would overwrite what it has never seen.
func (s *Store) commitJob(ctx context.Context, j *Job, logWrite docstore.Write, more ...docstore.Write) (docstore.Version, error) {
	w, err := j.save()
	if err != nil {
		return 0, err
	}
	versions, err := s.Docs.Commit(ctx, append([]docstore.Write{w, logWrite}, more...))
	if err == nil {
		return versions[0], nil
	}
	landed, back := s.Log.Landed(ctx, &logWrite)
	if back != nil {
		return 0, back
	}
	if !landed {
		return 0, fmt.Errorf("job: commit %s: %w", j.ID, err)
	}
	doc, err := s.Docs.Get(ctx, w.Key)
	if err != nil {
		return 0, fmt.Errorf("job: read back %s: %w", j.ID, err)
	}
	if !bytes.Equal(doc.Data, w.Data) {
		return 0, nil
	}
	return doc.Version, nil
}

// retrying is the event between two attempts.
func retrying(now time.Time, next int, why string) eventlog.Entry {
	return eventlog.Entry{Type: eventlog.TypeRetrying, Time: now, Data: mustJSON(struct {
		NextAttempt int    `json:"next_attempt"`
		Reason      string `json:"reason"`
	}{next, why})}
}
