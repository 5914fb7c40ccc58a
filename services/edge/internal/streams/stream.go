package streams

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errClosed ends the credential of a stream that is closed.
var errClosed = errors.New("streams: closed")

// Stream is one open stream.
type Stream struct {
	set        *Set
	credential Credential
	// ctx ends when the credential does, with the reason.
	ctx  context.Context //nolint:containedctx // the life of the credential
	end  context.CancelCauseFunc
	once sync.Once

	// Guarded by the set's mutex.
	timer   *time.Timer
	expires time.Time
}

// Close gives the place back. Closing again does nothing.
func (st *Stream) Close() {
	st.once.Do(func() {
		st.end(errClosed)
		st.set.close(st)
	})
}

// Until is ctx, ended with ErrDraining once the instance goes away and with the
// reason once the credential ends. stop frees it.
func (st *Stream) Until(ctx context.Context) (until context.Context, stop func()) {
	until, cancel := context.WithCancelCause(ctx)
	away := context.AfterFunc(st.set.life, func() { cancel(ErrDraining) })
	over := context.AfterFunc(st.ctx, func() { cancel(context.Cause(st.ctx)) })
	return until, func() { away(); over(); cancel(nil) }
}

// WhenOver calls f with the reason, once, when the credential ends before the
// stream is closed.
func (st *Stream) WhenOver(f func(why error)) {
	context.AfterFunc(st.ctx, func() {
		if why := context.Cause(st.ctx); !errors.Is(why, errClosed) {
			f(why)
		}
	})
}

// expireAt sets the moment the credential ends; zero: none. The set's mutex is
// held.
func (st *Stream) expireAt(at time.Time) {
	if at.Equal(st.expires) {
		return
	}
	st.expires = at
	if st.timer != nil {
		st.timer.Stop()
		st.timer = nil
	}
	if !at.IsZero() {
		st.timer = time.AfterFunc(time.Until(at), func() { st.end(ErrExpired) })
	}
}

// maxGone is how many ended keys a set remembers: far more than can be ended
// while a request is on its way from its authentication to its stream.
const maxGone = 1024

// gone remembers the keys that ended last, for streams that were authenticated
// before and are opened after.
type gone struct {
	of    map[string]error
	order []string
}

func newGone() gone { return gone{of: make(map[string]error)} }

func (g *gone) add(keyID string, why error) {
	if _, known := g.of[keyID]; known {
		return
	}
	if len(g.order) == maxGone {
		delete(g.of, g.order[0])
		g.order = g.order[1:]
	}
	g.of[keyID] = why
	g.order = append(g.order, keyID)
}
