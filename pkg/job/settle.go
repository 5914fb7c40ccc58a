package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/eventlog"
)

// Finish ends the job: terminal event, terminal state and the conversation's
// next head in one commit, after which the log is closed. It returns
// ErrLeaseLost when somebody else owns the job meanwhile. After another error it
// may be called again, with the same result.
func (h *Held) Finish(ctx context.Context, r Result) error {
	r.Artifacts = append(r.Artifacts, Artifact{Name: ArtifactEvents})
	return h.settle(ctx, func(at time.Time) error {
		var next *succession
		j := h.Job()
		j.Usage = h.base
		if err := h.s.applyResult(ctx, &j, &r, at); err != nil {
			return err
		}
		err := h.Log.Seal(ctx, true, []eventlog.Entry{endEntry(&j)}, func(ctx context.Context, last *eventlog.Batch, w docstore.Write) error {
			j.LastSeq = last.LastSeq
			h.s.archiveInto(ctx, &j, h.Log.Archive, last)
			return h.close(&j, func() (err error) {
				next, err = h.s.commitEnd(ctx, &j, w, r.Thread)
				return err
			})
		})
		if err != nil {
			return err
		}
		h.s.afterEnd(ctx, &j, next)
		return nil
	})
}

// HandBack gives the job back unharmed: it is queued again at once and the
// attempt is not counted, though its tokens are. For a worker that shuts down.
// Its errors are those of Finish.
func (h *Held) HandBack(ctx context.Context, usage Usage) error {
	return h.settle(ctx, func(at time.Time) error {
		j := h.Job()
		if err := j.to(Queued); err != nil {
			return err
		}
		j.Lease, j.HandedBack, j.Usage = nil, true, h.base.Plus(usage)
		j.due(DueClaim, at.Add(h.s.ClaimDelay))
		entries := []eventlog.Entry{retrying(at, j.Attempt, "shutdown")}
		err := h.Log.Seal(ctx, false, entries, func(ctx context.Context, last *eventlog.Batch, w docstore.Write) error {
			j.LastSeq = last.LastSeq
			return h.close(&j, func() error {
				_, err := h.s.commitJob(ctx, &j, w)
				return err
			})
		})
		if err != nil {
			return err
		}
		h.s.announceJob(ctx, &j)
		return nil
	})
}

// settleTries bounds how often the end of a claim is tried again because of
// heartbeats that land late; there is one at most.
const settleTries = 3

// settle ends the claim by try. All tries have one time: one whose answer was
// lost may have landed, and the next finds it by its bytes, so the same result
// must be the same event. What watchers are told is what is stored.
//
// Heartbeats go on meanwhile, up to the commit itself: a long log is packed and
// stored before it, on a busy machine or with a slow bucket for longer than a
// lease lives.
func (h *Held) settle(ctx context.Context, try func(at time.Time) error) error {
	at, err := h.settling()
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		err := try(at)
		if err == nil {
			return nil
		}
		if again, err := h.lost(ctx, err); !again || n == settleTries {
			return err
		}
	}
}

// settling is the time of the claim's end.
func (h *Held) settling() (time.Time, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return time.Time{}, ErrLeaseLost
	}
	if h.settledAt.IsZero() {
		h.settledAt = h.s.Now()
	}
	return h.settledAt, nil
}

// close ends the claim by the commit of j, over what the last heartbeat wrote.
// The lock keeps the next one back: it would make the commit fail.
func (h *Held) close(j *Job, commit func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over { // a heartbeat has found out
		return ErrLeaseLost
	}
	j.version = h.job.version
	if err := commit(); err != nil {
		return err
	}
	h.job, h.over = *j, true
	return nil
}

// lost turns "somebody else wrote" into ErrLeaseLost. The one who wrote may have
// been this claim: a heartbeat that was given up can land late. Then the claim
// goes on from what it wrote, and again is true.
func (h *Held) lost(ctx context.Context, err error) (again bool, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case errors.Is(err, eventlog.ErrFenced):
	case errors.Is(err, docstore.ErrConflict):
		stored, readErr := h.s.read(ctx, h.job.ID)
		if readErr != nil {
			return false, errors.Join(readErr, err)
		}
		if stored.Lease != nil && stored.Lease.Owner == h.job.Lease.Owner {
			h.job.version = stored.version
			return true, fmt.Errorf("job: settle %s: %w", h.job.ID, err)
		}
	default:
		return false, err
	}
	h.over = true
	return false, errors.Join(ErrLeaseLost, err)
}
