package jobmodel_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/eventlog"
)

// fault is what happens to one commit of a process.
type fault string

const (
	faultless  fault = "none"
	notLanded  fault = "not landed"        // and the caller is told that the store is away
	answerLost fault = "answer lost"       // it landed, and the caller is told the same
	landsLate  fault = "lands late"        // the same, and it lands at some later time
	goneBefore fault = "gone before"       // the process dies
	goneAfter  fault = "gone after commit" // it landed, and the process dies
)

var errGone = fmt.Errorf("%w: the process is gone", docstore.ErrUnavailable)

// step is one call of a process into the domain. The driver finds it in the
// context and lets another process act between two calls to the store.
type step struct {
	calls     int
	at        int
	interlude func()
	over      atomic.Bool // a log's writer keeps the context of its claim
}

type stepKey struct{}

// driver is the way of one process to the documents that all share.
type driver struct {
	docstore.Driver
	w *world

	fault fault
	skip  int // commits before the fault
	dead  atomic.Bool
}

func (d *driver) enter(ctx context.Context) error {
	if d.dead.Load() {
		return errGone
	}
	if s, ok := ctx.Value(stepKey{}).(*step); ok && !s.over.Load() && s.interlude != nil {
		if s.calls++; s.calls == s.at {
			act := s.interlude
			s.interlude = nil
			act()
		}
	}
	if d.dead.Load() {
		return errGone
	}
	return ctx.Err()
}

func (d *driver) Get(ctx context.Context, k docstore.Key) (docstore.Doc, error) {
	if err := d.enter(ctx); err != nil {
		return docstore.Doc{}, err
	}
	return d.Driver.Get(ctx, k)
}

func (d *driver) Query(ctx context.Context, q docstore.Query) (docstore.Page, error) {
	if err := d.enter(ctx); err != nil {
		return docstore.Page{}, err
	}
	return d.Driver.Query(ctx, q)
}

// arm lets the n-th next commit fail.
func (d *driver) arm(f fault, n int) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.fault, d.skip = f, n
}

func (d *driver) next() fault {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	if d.skip--; d.skip >= 0 || d.fault == "" {
		return faultless
	}
	f := d.fault
	d.fault = ""
	return f
}

func (d *driver) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	if err := d.enter(ctx); err != nil {
		return nil, errors.Join(err, docstore.ErrUnavailable)
	}
	f := d.next()
	switch f {
	case goneBefore:
		d.dead.Store(true)
		return nil, errGone
	case notLanded:
		return nil, docstore.ErrUnavailable
	case landsLate:
		d.w.mu.Lock()
		d.w.late = append(d.w.late, writes)
		d.w.mu.Unlock()
		return nil, docstore.ErrUnavailable
	case faultless, answerLost, goneAfter:
	}
	versions, err := d.w.commit(ctx, writes)
	switch {
	case f == goneAfter:
		d.dead.Store(true)
		return nil, errGone
	case f == answerLost && err == nil:
		return nil, docstore.ErrUnavailable
	}
	return versions, err
}

// unfenced is a store whose log has no fence: a batch overwrites what is there.
type unfenced struct{ docstore.Driver }

func (u unfenced) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	open := make([]docstore.Write, len(writes))
	copy(open, writes)
	for i := range open {
		if open[i].Key.Collection != eventlog.Collection || open[i].Op != docstore.Create {
			continue
		}
		if doc, err := u.Get(ctx, open[i].Key); err == nil {
			open[i].Op, open[i].Version = docstore.Replace, doc.Version
		}
	}
	return u.Driver.Commit(ctx, open)
}
