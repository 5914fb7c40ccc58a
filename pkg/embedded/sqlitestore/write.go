package sqlitestore

import (
	"context"
	"fmt"
	"sync/atomic"

	"codexgateway.dev/pkg/docstore"
)

// mutation is one write with the arguments of its statement.
type mutation struct {
	op   docstore.Op
	key  docstore.Key
	args []any // args[0] is the new version, except in a delete
}

// A request is a commit on its way to the writer. Whoever moves its state away
// from queued decides: the writer, that it is applied, or the caller, that it
// never will be.
type request struct {
	writes []mutation
	bytes  int
	state  atomic.Int32
	done   chan struct{} // closed when versions and err are set
	// versions and err are the answer.
	versions []docstore.Version
	err      error
}

const (
	queued int32 = iota
	taken
	abandoned
)

// Commit implements [docstore.Driver]. It waits while the queue is full. A
// commit whose context ends while it is queued is not applied and returns the
// context's error; one that is being applied goes on, and the caller gets
// ErrUnavailable with the context's error: the result is unknown.
func (s *Store) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	r, err := s.request(writes)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("sqlite commit: not applied: %w", ended(ctx))
	}
	select {
	case s.writer.queue <- r:
	case <-ctx.Done():
		return nil, fmt.Errorf("sqlite commit: not applied: %w", ended(ctx))
	}
	return r.await(ctx)
}

// await waits for the writer's answer, or for the end of the context.
func (r *request) await(ctx context.Context) ([]docstore.Version, error) {
	select {
	case <-r.done:
		return r.versions, r.err
	case <-ctx.Done():
	}
	if r.state.CompareAndSwap(queued, abandoned) {
		return nil, fmt.Errorf("sqlite commit: not applied: %w", ended(ctx))
	}
	select {
	case <-r.done: // it was just answered
		return r.versions, r.err
	default:
		return nil, fmt.Errorf("sqlite commit: %w: %w", docstore.ErrUnavailable, ended(ctx))
	}
}

// ended is why the context ended: its error, and its cause where that is another.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err { //nolint:errorlint // identity: a cause that only repeats the error
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// request makes the arguments of every statement in the caller's goroutine, so
// that the writer's only writes. The data are copied, for a caller whose context
// ended may go on and change them while the writer still reads.
func (s *Store) request(writes []docstore.Write) (*request, error) {
	r := &request{writes: make([]mutation, len(writes)), done: make(chan struct{})}
	for i, w := range writes {
		t := s.tables[w.Key.Collection]
		if t == nil {
			return nil, fmt.Errorf("%w: collection %q", docstore.ErrInvalid, w.Key.Collection)
		}
		m := mutation{op: w.Op, key: w.Key}
		switch w.Op {
		case docstore.Create:
			m.args = append(make([]any, 0, 3+len(t.collection.Fields)), nil, w.Key.ID)
			m.args = t.values(m.args, w)
		case docstore.Replace:
			m.args = append(make([]any, 0, 4+len(t.collection.Fields)), nil)
			m.args = append(t.values(m.args, w), w.Key.ID, int64(w.Version))
		case docstore.Delete:
			m.args = []any{w.Key.ID, int64(w.Version)}
		}
		r.writes[i] = m
		r.bytes += len(w.Data) + len(w.Key.ID)
	}
	return r, nil
}

// values appends the data and the fields, in the order of the table's columns.
func (t *table) values(args []any, w docstore.Write) []any {
	// Not nil even when empty: nil would be NULL.
	args = append(args, append([]byte{}, w.Data...))
	for _, f := range t.collection.Fields {
		args = append(args, w.Fields[f.Name])
	}
	return args
}
