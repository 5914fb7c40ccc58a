package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
)

// ControlCollection holds what people want of running jobs. It is a document
// of its own, so that a wish never collides with the lease holder's
// compare-and-sets on the job document.
const ControlCollection = "job_controls"

// indexOpen lists the wishes that nobody has settled.
const indexOpen = "by_open"

// openCancel marks an unsettled cancel.
const openCancel = "cancel"

func controlSchema() docstore.Collection {
	return docstore.Collection{
		Name: ControlCollection,
		Fields: []docstore.Field{
			{Name: "open", Kind: docstore.String},
			{Name: "cancel_at", Kind: docstore.Int},
		},
		Indexes: []docstore.Index{{Name: indexOpen, Equal: []string{"open"}, Order: "cancel_at"}},
	}
}

// Control is the control document of a job: wishes, kept until the job has
// ended and the reconciler has seen it.
type Control struct {
	JobID string `json:"job_id"`
	// CancelAt is when a cancel was first asked for; zero: not.
	CancelAt time.Time `json:"cancel_at,omitzero"`
	Reason   string    `json:"reason,omitempty"`

	version docstore.Version
}

// Cancelled reports whether somebody wants the job to stop.
func (c *Control) Cancelled() bool { return !c.CancelAt.IsZero() }

func controlKey(jobID string) docstore.Key {
	return docstore.Key{Collection: ControlCollection, ID: jobID}
}

// Control reads what is wanted of a job; a job nobody wants anything of has an
// empty one. The worker calls it when the control topic names its job.
func (h *Held) Control(ctx context.Context) (*Control, error) {
	return h.s.control(ctx, h.Job().ID)
}

func (s *Store) control(ctx context.Context, jobID string) (*Control, error) {
	c := &Control{JobID: jobID}
	doc, err := s.Docs.Get(ctx, controlKey(jobID))
	if errors.Is(err, docstore.ErrNotFound) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("job: control %s: %w", jobID, err)
	}
	if err := json.Unmarshal(doc.Data, c); err != nil {
		return nil, fmt.Errorf("job: decode control %s: %w", jobID, err)
	}
	c.version = doc.Version
	return c, nil
}

// cancelTries bounds the races of a cancel with a claim or another cancel.
const cancelTries = 10

// Cancel asks a tenant's job to stop. A queued job is cancelled at once and
// never starts; of a running one the wish is stored and then told, and its
// terminal event follows. A finished job is a conflict.
func (s *Store) Cancel(ctx context.Context, tenant, jobID, reason string) (*Job, error) {
	for range cancelTries {
		j, err := s.Get(ctx, tenant, jobID)
		if err != nil {
			return nil, err
		}
		switch {
		case j.State.Terminal():
			return nil, errs.Newf(errs.Conflict, "The job has already ended as %s.", j.State)
		case j.State == Queued:
			err = s.end(ctx, j, j.LastSeq, Result{State: Cancelled})
		default:
			err = s.wishCancel(ctx, j, reason)
		}
		if errors.Is(err, docstore.ErrConflict) || errors.Is(err, eventlog.ErrFenced) {
			continue // somebody claimed, ended or cancelled it meanwhile: look again
		}
		if err != nil {
			return nil, fmt.Errorf("job: cancel: %w", err)
		}
		return j, nil
	}
	return nil, errs.New(errs.Overloaded, "The job changes too fast; try again.")
}

// wishCancel stores the wish, then tells the holder.
func (s *Store) wishCancel(ctx context.Context, j *Job, reason string) error {
	c, err := s.control(ctx, j.ID)
	if err != nil {
		return err
	}
	if !c.Cancelled() {
		c.CancelAt, c.Reason = s.Now(), reason
		data, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("job: encode control: %w", err)
		}
		w := docstore.Write{Op: docstore.Create, Key: controlKey(j.ID), Version: c.version, Data: data, Fields: docstore.Fields{
			"open": openCancel, "cancel_at": c.CancelAt.UnixMicro(),
		}}
		if c.version != 0 {
			w.Op = docstore.Replace
		}
		if _, err := s.Docs.Commit(ctx, []docstore.Write{w}); err != nil {
			return err
		}
	}
	s.publish(ctx, j.ID, "", &events.JobCancelRequested{JobID: j.ID, Tenant: j.Tenant})
	return nil
}
