package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
)

// enforceAfter is how long after its holder's grace a job with a cancel is
// ended without the holder: the terminal event of a cancelled job comes within
// the grace and 5 s even if the worker is gone and its lease is not over yet.
const enforceAfter = 4 * time.Second

// OpenCancels returns cancels that nobody has settled, the oldest first.
func (s *Store) OpenCancels(ctx context.Context, limit int, cursor string) ([]*Control, string, error) {
	page, err := s.Docs.Query(ctx, docstore.Query{
		Collection: ControlCollection, Index: indexOpen, Equal: []any{openCancel}, Limit: limit, Cursor: cursor,
	})
	if err != nil {
		return nil, "", fmt.Errorf("job: open cancels: %w", err)
	}
	out := make([]*Control, len(page.Docs))
	for i := range page.Docs {
		c := &Control{version: page.Docs[i].Version}
		if err := json.Unmarshal(page.Docs[i].Data, c); err != nil {
			return nil, "", fmt.Errorf("job: decode control %s: %w", page.Docs[i].Key.ID, err)
		}
		out[i] = c
	}
	return out, page.Next, nil
}

// Enforce settles a cancel: it ends a job that nobody runs, or whose holder has
// not ended it in time, and removes the cancel of one that has ended. It is
// safe to run from several reconcilers at once.
func (s *Store) Enforce(ctx context.Context, c *Control, w *CancelWatch) error {
	j, err := s.read(ctx, c.JobID)
	switch {
	case errs.CodeOf(err) == errs.NotFound && err != nil, err == nil && j.State.Terminal():
		_, err := s.Docs.Commit(ctx, []docstore.Write{{Op: docstore.Delete, Key: controlKey(c.JobID), Version: c.version}})
		if err != nil && !errors.Is(err, docstore.ErrConflict) {
			return fmt.Errorf("job: settle cancel of %s: %w", c.JobID, err)
		}
		return nil
	case err != nil:
		return err
	}
	waited := w.still(c.JobID, c.version)
	if j.Lease != nil && waited < j.Lease.Grace+enforceAfter {
		return nil
	}
	last, closed, err := s.Log.Tail(ctx, j.ID)
	if err != nil || closed {
		return err
	}
	err = s.end(ctx, j, last, Result{State: Cancelled})
	if errors.Is(err, docstore.ErrConflict) || errors.Is(err, eventlog.ErrFenced) {
		return nil // its holder did something meanwhile: look again
	}
	return err
}
