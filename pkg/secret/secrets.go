package secret

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// retryAfter spaces the questions to a driver that fails while an old value is
// served, so that not every caller waits for the deadline.
const retryAfter = 5 * time.Second

// Options of [Secrets]. The zero value works.
type Options struct {
	// TTL is how long a value is served without asking again: the longest a
	// rotation takes to be seen. 0: 1 min.
	TTL time.Duration
	// MaxStale is how long after its TTL a value is still served while the
	// driver fails. 0: 1 h.
	MaxStale time.Duration
	// Timeout bounds one question to the driver. 0: 5 s.
	Timeout time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.TTL <= 0 {
		o.TTL = time.Minute
	}
	if o.MaxStale <= 0 {
		o.MaxStale = time.Hour
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Secrets reads named secrets through a cache. It is safe for concurrent use.
// The cache holds only what was found, so it is bounded by the secrets that exist.
type Secrets struct {
	driver Driver
	opt    Options
	flight singleflight.Group
	// life ends with Close; questions to the driver live in it, not in a
	// caller's context: others may wait for the same answer.
	life    context.Context //nolint:containedctx // bounds the questions, which outlive their callers
	end     context.CancelCauseFunc
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	cache  map[string]cached
	// failed is the name the driver failed on last, empty once it answered: Ping
	// asks for it again.
	failed string
}

// cached is the last value the driver gave.
type cached struct {
	value Value
	at    time.Time
	// retry is when to ask again after a failure; zero when there was none.
	retry time.Time
}

// New returns the secrets of a driver. Closing them closes the driver.
func New(d Driver, opt Options) *Secrets {
	s := &Secrets{driver: d, opt: opt.withDefaults(), cache: make(map[string]cached)}
	s.life, s.end = context.WithCancelCause(context.Background())
	return s
}

// Get returns the newest version of a secret, at most TTL old. While the driver
// fails it returns the last value for MaxStale more.
//
// Errors: ErrInvalidName, ErrNotFound, ErrClosed, ErrUnavailable, that of ctx, or
// the driver's.
func (s *Secrets) Get(ctx context.Context, name string) (Value, error) {
	if !ValidName(name) {
		// The name is not repeated: what is no name may be a secret put in the wrong place.
		return Value{}, fmt.Errorf("secret: get: %w", ErrInvalidName)
	}
	if v, ok := s.fresh(name); ok {
		return v, nil
	}
	select {
	case res := <-s.flight.DoChan(name, func() (any, error) { return s.fetch(name) }): //nolint:contextcheck // others may wait for the same answer: it lives in s.life
		v, _ := res.Val.(Value)
		if res.Err != nil {
			return Value{}, fmt.Errorf("secret: get %q: %w", name, res.Err)
		}
		return v, nil
	case <-ctx.Done():
		return Value{}, fmt.Errorf("secret: get %q: %w", name, context.Cause(ctx))
	}
}

// fresh returns the cached value when the driver need not be asked.
func (s *Secrets) fresh(name string) (Value, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.cache[name]
	now := s.opt.Now()
	if !ok || s.closed {
		return Value{}, false
	}
	return c.value, now.Sub(c.at) < s.opt.TTL || (now.Before(c.retry) && s.servable(c, now))
}

// servable reports whether an old value may still be served.
func (s *Secrets) servable(c cached, now time.Time) bool {
	return now.Sub(c.at) < s.opt.TTL+s.opt.MaxStale
}

// fetch asks the driver and decides what its answer means for the cache.
func (s *Secrets) fetch(name string) (Value, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return Value{}, ErrClosed
	}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()

	ctx, cancel := context.WithTimeout(s.life, s.opt.Timeout)
	defer cancel()
	v, err := s.driver.Latest(ctx, name)

	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	switch {
	case err == nil:
		s.failed = ""
		s.cache[name] = cached{value: v, at: now}
		return v, nil
	case errors.Is(err, ErrNotFound):
		// An answer, not a failure: a deleted secret is gone at once.
		s.failed = ""
		delete(s.cache, name)
		return Value{}, err
	}
	s.failed = name
	c, ok := s.cache[name]
	if !ok || !s.servable(c, now) || s.closed {
		return Value{}, err
	}
	s.opt.Logger.Warn("secret not refreshed, serving the last value",
		slog.String("secret", name), slog.Duration("age", now.Sub(c.at)), slog.String("error", err.Error()))
	c.retry = now.Add(retryAfter)
	s.cache[name] = c
	return c.value, nil
}

// Ping reports whether the driver answers. It asks nothing as long as the last
// question was answered, since each costs money on some platforms; after a
// failure it asks for the same secret again.
func (s *Secrets) Ping(ctx context.Context) error {
	s.mu.Lock()
	name, closed := s.failed, s.closed
	s.mu.Unlock()
	if closed {
		return fmt.Errorf("secret: ping: %w", ErrClosed)
	}
	if name == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	_, err := s.driver.Latest(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("secret: ping: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == name {
		s.failed = ""
	}
	return nil
}

// Close ends running questions, forgets every value and closes the driver.
func (s *Secrets) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	clear(s.cache)
	s.mu.Unlock()
	s.end(ErrClosed)
	s.running.Wait()
	if err := s.driver.Close(); err != nil {
		return fmt.Errorf("secret: close: %w", err)
	}
	return nil
}
