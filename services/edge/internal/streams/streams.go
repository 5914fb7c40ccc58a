package streams

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// defaultMost is the bound of a Set made with 0.
const defaultMost = 10_000

// Set is the open streams of one instance.
type Set struct {
	most int

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
	return s
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
