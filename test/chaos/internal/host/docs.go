package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/test/chaos/internal/wire"
)

// What the host says when it does wrong on purpose.
var (
	errNoRead     = fmt.Errorf("host: read refused on purpose: %w", docstore.ErrUnavailable)
	errRefused    = fmt.Errorf("host: commit refused on purpose: %w", docstore.ErrUnavailable)
	errUnanswered = fmt.Errorf("host: commit not answered on purpose: %w", docstore.ErrUnavailable)
	errFull       = fmt.Errorf("host: full on purpose: %w", docstore.ErrFull)
)

// reading makes a read slow or fail.
func (h *Host) reading(ctx context.Context) error {
	wait, fails := h.dice.read()
	if !pause(ctx, wait) {
		return context.Cause(ctx)
	}
	if fails {
		return errNoRead
	}
	return nil
}

func (h *Host) get(ctx context.Context, key *docstore.Key) wire.GetReply {
	if err := h.reading(ctx); err != nil {
		return wire.GetReply{Err: wire.FromError(err)}
	}
	doc, err := h.opt.Docs.Get(ctx, *key)
	return wire.GetReply{Doc: doc, Err: wire.FromError(err)}
}

func (h *Host) query(ctx context.Context, q *docstore.Query) wire.QueryReply {
	if err := h.reading(ctx); err != nil {
		return wire.QueryReply{Err: wire.FromError(err)}
	}
	page, err := h.opt.Docs.Query(ctx, *q)
	return wire.QueryReply{Page: page, Err: wire.FromError(err)}
}

func (h *Host) commit(ctx context.Context, r *wire.CommitRequest) wire.CommitReply {
	versions, err := h.commitOrNot(ctx, r.Writes)
	return wire.CommitReply{Versions: versions, Err: wire.FromError(err)}
}

func (h *Host) commitOrNot(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	t := h.dice.commit()
	switch {
	case !pause(ctx, t.wait):
		return nil, context.Cause(ctx)
	case t.full:
		return nil, errFull
	case t.refused:
		return nil, errRefused
	}
	commit := h.opt.Docs.Commit
	if h.opt.BreakFence {
		commit = h.overwrite
	}
	versions, err := commit(ctx, writes)
	if err == nil && t.unanswered {
		return nil, errUnanswered
	}
	return versions, err
}

// overwriteTries bounds the races of two overwriting writers.
const overwriteTries = 10

// overwrite commits, but writes over a batch of the event log that is there
// already: the fence that a campaign must miss.
func (h *Host) overwrite(ctx context.Context, writes []docstore.Write) (versions []docstore.Version, err error) {
	for range overwriteTries {
		broken := slices.Clone(writes)
		for i := range broken {
			w := &broken[i]
			if w.Op != docstore.Create || w.Key.Collection != eventlog.Collection {
				continue
			}
			doc, err := h.opt.Docs.Get(ctx, w.Key)
			if errors.Is(err, docstore.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			w.Op, w.Version = docstore.Replace, doc.Version
		}
		versions, err = h.opt.Docs.Commit(ctx, broken)
		var conflict *docstore.ConflictError
		if !errors.As(err, &conflict) || conflict.Key.Collection != eventlog.Collection {
			return versions, err
		}
	}
	return versions, err
}
