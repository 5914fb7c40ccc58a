package streams

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// defaultMost is the bound of a Set made with 0.
const defaultMost = 10_000

// ErrDraining is why a stream ends when its instance goes away.
var ErrDraining = errors.New("streams: the instance goes away")

// Set is the open streams of one instance.
type Set struct {
	most int
	// life ends when the instance goes away.
	life context.Context //nolint:containedctx // it is what a Set is about
	end  context.CancelCauseFunc

	mu   sync.Mutex
	open int
	none chan struct{} // closed while nothing is open
}

// New returns an empty set of at most so many streams; 0 means 10,000.
func New(most int) *Set {
	if most <= 0 {
		most = defaultMost
	}
	s := &Set{most: most, none: make(chan struct{})}
	close(s.none)
	s.life, s.end = context.WithCancelCause(context.Background())
	return s
}

// Drain tells every stream that the instance goes away.
func (s *Set) Drain() { s.end(ErrDraining) }

// Draining is closed by Drain.
func (s *Set) Draining() <-chan struct{} { return s.life.Done() }

// Until is ctx, ended with ErrDraining once the instance goes away. stop frees it.
func (s *Set) Until(ctx context.Context) (until context.Context, stop func()) {
	until, cancel := context.WithCancelCause(ctx)
	forget := context.AfterFunc(s.life, func() { cancel(ErrDraining) })
	return until, func() { forget(); cancel(nil) }
}

// Take counts one more stream until release is called, once; false: no place.
func (s *Set) Take() (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.most {
		return nil, false
	}
	if s.open == 0 {
		s.none = make(chan struct{})
	}
	s.open++
	return s.release, true
}

func (s *Set) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open--; s.open == 0 {
		close(s.none)
	}
}

// Wait returns when no stream is open, or with the cause of ctx.
func (s *Set) Wait(ctx context.Context) error {
	s.mu.Lock()
	none := s.none
	s.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// The bounds of RetryAfter. The span is what an instance's clients spread over:
// thousands that come back in one moment would be one stampede.
const (
	RetryFrom = 100 * time.Millisecond
	RetryTo   = 3 * time.Second
)

// RetryAfter is a jittered hint when to come back, in whole milliseconds.
func RetryAfter() time.Duration {
	return (RetryFrom + rand.N(RetryTo-RetryFrom)).Truncate(time.Millisecond)
}
