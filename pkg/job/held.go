package job

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/eventlog"
)

// Held is a claimed job: the only door to a running job's document and log.
// It is a different type from Job so that nothing can be written without a
// claim. One goroutine heartbeats, any may append, one finishes.
type Held struct {
	s   *Store
	opt ClaimOptions
	Log *eventlog.Writer
	// Thread is what the conversation's last job left; nil for a first one.
	Thread *conversation.Thread

	mu   sync.Mutex // guards job; a heartbeat and the commit of the end never interleave
	job  Job
	base Usage // of the attempts before this claim
	over bool
	// settledAt is when the end or the hand-back was first tried. A try whose
	// answer was lost may have landed, and the next finds it by its bytes: the
	// same result must be the same event, its time included, for what watchers
	// are told must be what is stored.
	settledAt time.Time
}

// hold starts the log writer of a fresh claim, which began with a batch. The writer outlives the claim's
// context: it ends by Finish, HandBack or Abandon.
func (s *Store) hold(ctx context.Context, j *Job, conv *conversation.Conversation, begun *eventlog.Batch, opt ClaimOptions) *Held {
	h := &Held{s: s, opt: opt, Thread: conv.Thread, job: *j, base: j.Usage}
	h.Log = s.Log.NewWriter(context.WithoutCancel(ctx), eventlog.WriterOptions{
		JobID: j.ID, Attempt: j.Attempt, Writer: j.Lease.Owner, Next: j.LastSeq + 1, Begun: begun,
		DeltaDelay: opt.DeltaDelay, Merge: opt.Merge, Logger: s.Logger,
		Stored: func(ctx context.Context, b *eventlog.Batch) { s.announceBatch(ctx, j.Tenant, b) },
	})
	return h
}

// Job returns a copy of the job as this claim last wrote it.
func (h *Held) Job() Job {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.job
}

// Heartbeat extends the lease and returns what somebody wants of the job. A
// third of the lease is the right interval. usage is this claim's so far.
// ErrLeaseLost means: stop at once.
func (h *Held) Heartbeat(ctx context.Context, usage Usage) (*Control, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return nil, ErrLeaseLost
	}
	next := h.job
	now := h.s.Now()
	lease := *h.job.Lease
	lease.ExpiresAt = now.Add(h.opt.Lease)
	next.Lease = &lease
	next.due(DueLease, next.Lease.ExpiresAt)
	next.LastSeq, next.Usage = h.Log.LastSeq(), h.base.Plus(usage)
	w, err := next.save()
	if err != nil {
		return nil, err
	}
	versions, err := h.s.Docs.Commit(ctx, []docstore.Write{w})
	if err == nil {
		next.version = versions[0]
	} else {
		stored, readErr := h.s.read(ctx, h.job.ID)
		if readErr != nil {
			return nil, fmt.Errorf("job: heartbeat %s: %w", h.job.ID, err)
		}
		if stored.Lease == nil || stored.Lease.Owner != h.job.Lease.Owner {
			h.over = true
			return nil, ErrLeaseLost
		}
		if stored.version == h.job.version {
			return nil, fmt.Errorf("job: heartbeat %s: %w", h.job.ID, err)
		}
		next.version = stored.version // the commit whose answer was lost did land
	}
	h.job = next
	return h.s.control(ctx, h.job.ID)
}

// Result is how a job ended.
type Result struct {
	State      State
	Content    string
	Structured json.RawMessage
	Error      *events.JobError
	Usage      Usage
	Model      string
	Artifacts  []Artifact
	// Thread goes to the conversation's next job; nil keeps the last one.
	Thread *conversation.Thread
}

// Abandon stops the log writer without a word: the lease is lost, or the
// process is about to die and the reconciler will find the job.
func (h *Held) Abandon(cause error) {
	h.Log.Stop(cause)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
}

// Remaining is the time until the job's deadline.
func (h *Held) Remaining() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.job.Deadline().Sub(h.s.Now())
}
