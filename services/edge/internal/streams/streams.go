package streams

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"codexgateway.dev/pkg/errs"
)

// defaultMost is the bound of a Set made with 0.
const defaultMost = 10_000

// ErrDraining is why a stream ends when its instance goes away.
var ErrDraining = errors.New("streams: the instance goes away")

// ErrExpired is why a stream ends whose credential has expired.
var ErrExpired = errs.New(errs.Unauthenticated, "The credential has expired.")

// Credential is what a stream lives on.
type Credential struct {
	// KeyID names the key, or whatever else was shown; several streams share it.
	KeyID string
	// Secret is which secret of the key was shown, counted from 1; 0: none of its
	// own, such as a ticket's.
	Secret int
	// Expires is when the credential ends; zero: it does not.
	Expires time.Time
}

// Set is the open streams of one instance.
type Set struct {
	most int
	// life ends when the instance goes away.
	life context.Context //nolint:containedctx // it is what a Set is about
	end  context.CancelCauseFunc

	mu   sync.Mutex
	open int
	none chan struct{} // closed while nothing is open
	keys map[string]map[*Stream]struct{}
	gone gone
}

// New returns an empty set of at most so many streams; 0 means 10,000.
func New(most int) *Set {
	if most <= 0 {
		most = defaultMost
	}
	s := &Set{most: most, none: make(chan struct{}), keys: make(map[string]map[*Stream]struct{}), gone: newGone()}
	close(s.none)
	s.life, s.end = context.WithCancelCause(context.Background())
	return s
}

// Drain tells every stream that the instance goes away.
func (s *Set) Drain() { s.end(ErrDraining) }

// Draining is closed by Drain.
func (s *Set) Draining() <-chan struct{} { return s.life.Done() }

// Why there is no place for a stream: in the set, or for its key.
var (
	ErrFull    = errors.New("streams: too many are open")
	ErrKeyFull = errors.New("streams: too many are open of the key")
)

// Open is OpenAtMost without a bound on the streams of a key; false: no place.
func (s *Set) Open(c Credential) (*Stream, bool) {
	st, err := s.OpenAtMost(c, 0)
	return st, err == nil
}

// OpenAtMost counts one more stream until it is closed, unless the key has most
// already; 0: as many as there is place for. The error is ErrFull or ErrKeyFull. A
// credential whose key has ended meanwhile gets a stream that has ended.
func (s *Set) OpenAtMost(c Credential, most int) (*Stream, error) {
	st := &Stream{set: s, credential: c}
	st.ctx, st.end = context.WithCancelCause(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.open >= s.most:
		st.end(nil)
		return nil, ErrFull
	case most > 0 && len(s.keys[c.KeyID]) >= most:
		st.end(nil)
		return nil, ErrKeyFull
	}
	if s.open == 0 {
		s.none = make(chan struct{})
	}
	s.open++
	if s.keys[c.KeyID] == nil {
		s.keys[c.KeyID] = make(map[*Stream]struct{})
	}
	s.keys[c.KeyID][st] = struct{}{}
	st.expireAt(c.Expires)
	if why := s.gone.of[c.KeyID]; why != nil {
		st.end(why)
	}
	return st, nil
}

// close takes a stream off the set.
func (s *Set) close(st *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.timer != nil {
		st.timer.Stop()
	}
	mates := s.keys[st.credential.KeyID]
	if delete(mates, st); len(mates) == 0 {
		delete(s.keys, st.credential.KeyID)
	}
	if s.open--; s.open == 0 {
		close(s.none)
	}
}

// Keys names the keys that streams are open of.
func (s *Set) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]string, 0, len(s.keys))
	for id := range s.keys {
		ids = append(ids, id)
	}
	return ids
}

// End ends every stream of a key, and those that are just being opened; why is
// what they end with.
func (s *Set) End(keyID string, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone.add(keyID, why)
	for st := range s.keys[keyID] {
		st.end(why)
	}
}

// Settle asks of each stream of a key until when its credential is good now; an
// error ends the stream with it. judge must not call the set.
func (s *Set) Settle(keyID string, judge func(Credential) (expires time.Time, err error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.keys[keyID] {
		expires, err := judge(st.credential)
		if err != nil {
			st.end(err)
			continue
		}
		st.expireAt(expires)
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
