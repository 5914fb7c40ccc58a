package job

import (
	"context"
	"errors"
	"fmt"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/eventlog"
)

// Finish ends the job: terminal event, terminal state and the conversation's
// next head in one commit, after which the log is closed. It returns
// ErrLeaseLost when somebody else owns the job meanwhile. After another error it
// may be called again, with the same result.
func (h *Held) Finish(ctx context.Context, r Result) error {
	r.Artifacts = append(r.Artifacts, Artifact{Name: ArtifactEvents})
	return h.settle(ctx, func() error {
		var next *succession
		j := h.job
		j.Usage = h.base
		if err := h.s.applyResult(ctx, &j, &r, h.settledAt); err != nil {
			return err
		}
		err := h.Log.Seal(ctx, true, []eventlog.Entry{endEntry(&j)}, func(ctx context.Context, last *eventlog.Batch, w docstore.Write) error {
			j.LastSeq = last.LastSeq
			h.s.archiveInto(ctx, &j, h.Log.Archive, last)
			var err error
			next, err = h.s.commitEnd(ctx, &j, w, r.Thread)
			return err
		})
		if err != nil {
			return err
		}
		h.job = j
		h.s.afterEnd(ctx, &j, next)
		return nil
	})
}

// HandBack gives the job back unharmed: it is queued again at once and the
// attempt is not counted, though its tokens are. For a worker that shuts down.
// Its errors are those of Finish.
func (h *Held) HandBack(ctx context.Context, usage Usage) error {
	return h.settle(ctx, func() error {
		j := h.job
		if err := j.to(Queued); err != nil {
			return err
		}
		j.Lease, j.HandedBack, j.Usage = nil, true, h.base.Plus(usage)
		j.due(DueClaim, h.settledAt.Add(h.s.ClaimDelay))
		entries := []eventlog.Entry{retrying(h.settledAt, j.Attempt, "shutdown")}
		err := h.Log.Seal(ctx, false, entries, func(ctx context.Context, last *eventlog.Batch, w docstore.Write) error {
			j.LastSeq = last.LastSeq
			_, err := h.s.commitJob(ctx, &j, w)
			return err
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

// settle ends the claim by try, under the lock. All tries have one time: one
// whose answer was lost may have landed, and the next finds it by its bytes, so
// the same result must be the same event. What watchers are told is what is
// stored.
func (h *Held) settle(ctx context.Context, try func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return ErrLeaseLost
	}
	if h.settledAt.IsZero() {
		h.settledAt = h.s.Now()
	}
	for n := 1; ; n++ {
		err := try()
		if err == nil {
			h.over = true
			return nil
		}
		if again, err := h.lost(ctx, err); !again || n == settleTries {
			return err
		}
	}
}

// lost turns "somebody else wrote" into ErrLeaseLost. The one who wrote may have
// been this claim: a heartbeat that was given up can land late. Then the claim
// goes on from what it wrote, and again is true.
func (h *Held) lost(ctx context.Context, err error) (again bool, _ error) {
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
