package docstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"codexgateway.dev/pkg/wait"
)

const (
	defaultTimeout = 10 * time.Second
	defaultLimit   = 100
	// readAttempts bounds how often a read is sent to the driver.
	readAttempts = 4
)

// errTimeout is the cause of a context that ended by the Store's own deadline.
var errTimeout = errors.New("docstore: call took longer than the store's timeout")

// Options tune a Store; the zero value is good.
type Options struct {
	// Logger hears of retried reads; nil: nobody does.
	Logger *slog.Logger
	// Timeout is the deadline of one call, its retries included; 0 means 10 s.
	Timeout time.Duration
	// Backoff says how long to wait before retry n (from 1) of a read; nil:
	// about 10 ms, doubled each time, with jitter.
	Backoff func(n int) time.Duration
	// TracerProvider and MeterProvider receive spans and metrics; nil: the
	// providers registered with OpenTelemetry.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// Store is the documents as the domain packages use them: a driver, behind
// validation, a deadline, retries of reads, a span and a metric for each call.
// It is safe for concurrent use.
type Store struct {
	driver      Driver
	schema      Schema
	collections map[string]Collection
	log         *slog.Logger
	timeout     time.Duration
	backoff     func(n int) time.Duration
	telemetry   *telemetry
	closed      atomic.Bool
}

// New returns a Store over a driver that was opened with the same schema. It
// fails with ErrInvalid if the schema is not valid.
func New(d Driver, schema Schema, opt Options) (*Store, error) {
	if d == nil {
		return nil, invalid("no driver")
	}
	if err := schema.Validate(); err != nil {
		return nil, err
	}
	tel, err := newTelemetry(opt.TracerProvider, opt.MeterProvider)
	if err != nil {
		return nil, fmt.Errorf("docstore: metrics: %w", err)
	}
	s := &Store{
		driver:      d,
		schema:      schema,
		collections: make(map[string]Collection, len(schema)),
		log:         opt.Logger,
		timeout:     opt.Timeout,
		backoff:     opt.Backoff,
		telemetry:   tel,
	}
	for _, c := range schema {
		s.collections[c.Name] = c
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.timeout <= 0 {
		s.timeout = defaultTimeout
	}
	if s.backoff == nil {
		s.backoff = backoff
	}
	return s, nil
}

// backoff is 10 ms doubled each time, half of it random, so that readers that
// failed together do not come back together.
func backoff(n int) time.Duration {
	d := 10 * time.Millisecond << min(n-1, 6)
	return d/2 + rand.N(d)
}

// Schema is what the store was opened with. It must not be changed.
func (s *Store) Schema() Schema { return s.schema }

// Get returns a document, or ErrNotFound.
func (s *Store) Get(ctx context.Context, key Key) (Doc, error) {
	ctx, call := s.telemetry.start(ctx, opGet, key.Collection)
	var doc Doc
	_, err := s.checkKey(key)
	if err == nil {
		err = s.read(ctx, func(ctx context.Context) (err error) {
			doc, err = s.driver.Get(ctx, key)
			return err
		})
	}
	call.end(err)
	if err != nil {
		return Doc{}, fmt.Errorf("get %s/%.64s: %w", key.Collection, key.ID, err)
	}
	return doc, nil
}

// Query returns one page. It sees every commit that finished before it began.
// ErrInvalid: the schema has no such index, a value is of the wrong kind, or the
// cursor is not of this query.
func (s *Store) Query(ctx context.Context, q Query) (Page, error) {
	ctx, call := s.telemetry.start(ctx, opQuery, q.Collection)
	var page Page
	err := s.checkQuery(q)
	if err == nil {
		if q.Limit == 0 {
			q.Limit = defaultLimit
		}
		err = s.read(ctx, func(ctx context.Context) (err error) {
			page, err = s.driver.Query(ctx, q)
			return err
		})
	}
	call.end(err)
	if err != nil {
		return Page{}, fmt.Errorf("query %s.%s: %w", q.Collection, q.Index, err)
	}
	return page, nil
}

// Commit applies all writes or none and returns the new version of each, in
// order (0 for a delete); when it returns nil they survive power loss. It is
// never retried: after ErrUnavailable whether it was applied is unknown, and
// only the caller knows what to read before writing again.
func (s *Store) Commit(ctx context.Context, writes []Write) ([]Version, error) {
	collection := ""
	if len(writes) > 0 {
		collection = writes[0].Key.Collection
	}
	ctx, call := s.telemetry.start(ctx, opCommit, collection)
	var versions []Version
	err := s.checkCommit(writes)
	if err == nil {
		err = s.once(ctx, func(ctx context.Context) (err error) {
			versions, err = s.driver.Commit(ctx, writes)
			return err
		})
	}
	call.end(err)
	if err != nil {
		return nil, fmt.Errorf("commit to %s: %w", collection, err)
	}
	return versions, nil
}

// Ping reports whether the store can serve; it is not retried.
func (s *Store) Ping(ctx context.Context) error {
	ctx, call := s.telemetry.start(ctx, opPing, "")
	err := s.once(ctx, s.driver.Ping)
	call.end(err)
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// Close closes the driver after the commits it has accepted; every later call
// is ErrUnavailable.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	if err := s.driver.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// once sends one call to the driver, under the store's deadline.
func (s *Store) once(ctx context.Context, call func(context.Context) error) error {
	if s.closed.Load() {
		return fmt.Errorf("%w: closed", ErrUnavailable)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()
	return settle(ctx, bounded, call(bounded))
}

// read sends a read to the driver until it answers with anything but
// ErrUnavailable, a bounded number of times under one deadline.
func (s *Store) read(ctx context.Context, call func(context.Context) error) error {
	bounded, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()
	for n := 1; ; n++ {
		if s.closed.Load() {
			return fmt.Errorf("%w: closed", ErrUnavailable)
		}
		err := settle(ctx, bounded, call(bounded))
		if n == readAttempts || bounded.Err() != nil || !errors.Is(err, ErrUnavailable) {
			return err
		}
		s.log.LogAttrs(ctx, slog.LevelDebug, "docstore_read_retry", slog.Int("attempt", n), slog.Any("error", err))
		if !wait.For(bounded, s.backoff(n)) {
			return err
		}
	}
}

// settle makes a call that ran into the store's own deadline ErrUnavailable:
// the caller's context is still good, so its error would mislead. A call that
// the caller ended keeps the context's error.
func settle(caller, bounded context.Context, err error) error {
	if err == nil || caller.Err() != nil || bounded.Err() == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(bounded))
	}
	return err
}
