package job

import (
	"context"
	"encoding/json"
	"errors"
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

	mu   sync.Mutex // guards job; a heartbeat and the end never interleave
	job  Job
	base Usage // of the attempts before this claim
	over bool
}

// hold starts the log writer of a fresh claim. The writer outlives the claim's
// context: it ends by Finish, HandBack or Abandon.
func (s *Store) hold(ctx context.Context, j *Job, conv *conversation.Conversation, opt ClaimOptions) *Held {
	h := &Held{s: s, opt: opt, Thread: conv.Thread, job: *j, base: j.Usage}
	h.Log = s.Log.NewWriter(context.WithoutCancel(ctx), eventlog.WriterOptions{
		JobID: j.ID, Attempt: j.Attempt, Writer: j.Lease.Owner, Next: j.LastSeq + 1,
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

// Finish ends the job: terminal event, terminal state and the conversation's
// next head in one commit, after which the log is closed. It returns
// ErrLeaseLost when somebody else owns the job meanwhile. After another error it
// may be called again, with the same result.
func (h *Held) Finish(ctx context.Context, r Result) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return ErrLeaseLost
	}
	var next *succession
	j := h.job
	j.Usage = h.base
	r.Artifacts = append(r.Artifacts, Artifact{Name: ArtifactEvents})
	if err := h.s.applyResult(ctx, &j, &r); err != nil {
		return err
	}
	err := h.Log.Seal(ctx, true, []eventlog.Entry{endEntry(&j)}, func(ctx context.Context, last *eventlog.Batch, w docstore.Write) error {
		j.LastSeq = last.LastSeq
		h.s.archiveInto(ctx, &j, last)
		var err error
		next, err = h.s.commitEnd(ctx, &j, w, r.Thread)
		return err
	})
	if err != nil {
		return h.lost(ctx, err)
	}
	h.over, h.job = true, j
	h.s.afterEnd(ctx, &j, next)
	return nil
}

// HandBack gives the job back unharmed: it is queued again at once and the
// attempt is not counted, though its tokens are. For a worker that shuts down.
func (h *Held) HandBack(ctx context.Context, usage Usage) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return ErrLeaseLost
	}
	now := h.s.Now()
	j := h.job
	if err := j.to(Queued); err != nil {
		return err
	}
	j.Lease, j.HandedBack, j.Usage = nil, true, h.base.Plus(usage)
	j.due(DueClaim, now.Add(h.s.ClaimDelay))
	err := h.Log.Seal(ctx, false, []eventlog.Entry{retrying(now, j.Attempt, "shutdown")}, func(ctx context.Context, last *eventlog.Batch, w docstore.Write) error {
		j.LastSeq = last.LastSeq
		_, err := h.s.commitJob(ctx, &j, w)
		return err
	})
	if err != nil {
		return h.lost(ctx, err)
	}
	h.over = true
	h.s.announceJob(ctx, &j)
	return nil
}

// Abandon stops the log writer without a word: the lease is lost, or the
// process is about to die and the reconciler will find the job.
func (h *Held) Abandon(cause error) {
	h.Log.Stop(cause)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
}

// lost turns "somebody else wrote" into ErrLeaseLost. The one who wrote may have
// been this claim: a heartbeat that was given up can land late. Then the claim
// goes on from what it wrote, and the caller may try again.
func (h *Held) lost(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, eventlog.ErrFenced):
	case errors.Is(err, docstore.ErrConflict):
		stored, readErr := h.s.read(ctx, h.job.ID)
		if readErr != nil {
			return errors.Join(readErr, err)
		}
		if stored.Lease != nil && stored.Lease.Owner == h.job.Lease.Owner {
			h.job.version = stored.version
			return fmt.Errorf("job: a late heartbeat of %s came first: %w", h.job.ID, err)
		}
	default:
		return err
	}
	h.over = true
	return errors.Join(ErrLeaseLost, err)
}

// Remaining is the time until the job's deadline.
func (h *Held) Remaining() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.job.Deadline().Sub(h.s.Now())
}
