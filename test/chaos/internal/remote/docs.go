package remote

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/test/chaos/internal/wire"
)

// Docs are the host's documents.
type Docs struct {
	host   *Host
	closed atomic.Bool
}

var _ docstore.Driver = (*Docs)(nil)

// Docs returns a driver of the host's documents. Closing it does not close the host.
func (h *Host) Docs() *Docs { return &Docs{host: h} }

// call makes a call; without an answer it is ErrUnavailable, or the context's
// error where that has ended.
func (d *Docs) call(ctx context.Context, path string, in, out any) error {
	if d.closed.Load() {
		return fmt.Errorf("remote: closed: %w", docstore.ErrUnavailable)
	}
	err := d.host.call(ctx, path, in, out)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.Join(ctx.Err(), err)
	default:
		return errors.Join(docstore.ErrUnavailable, err)
	}
}

// Get implements docstore.Driver.
func (d *Docs) Get(ctx context.Context, key docstore.Key) (docstore.Doc, error) {
	var out wire.GetReply
	if err := d.call(ctx, wire.PathGet, key, &out); err != nil {
		return docstore.Doc{}, err
	}
	return out.Doc, out.Err.Err()
}

// Query implements docstore.Driver.
func (d *Docs) Query(ctx context.Context, q docstore.Query) (docstore.Page, error) {
	var out wire.QueryReply
	if err := d.call(ctx, wire.PathQuery, q, &out); err != nil {
		return docstore.Page{}, err
	}
	return out.Page, out.Err.Err()
}

// Commit implements docstore.Driver.
func (d *Docs) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var out wire.CommitReply
	if err := d.call(ctx, wire.PathCommit, wire.CommitRequest{Writes: writes}, &out); err != nil {
		return nil, errors.Join(docstore.ErrUnavailable, err) // it may have been applied
	}
	return out.Versions, out.Err.Err()
}

// Ping implements docstore.Driver.
func (d *Docs) Ping(ctx context.Context) error {
	var out wire.Reply
	if err := d.call(ctx, wire.PathPing, wire.Reply{}, &out); err != nil {
		return err
	}
	return out.Err.Err()
}

// Close implements docstore.Driver.
func (d *Docs) Close() error {
	d.closed.Store(true)
	return nil
}
