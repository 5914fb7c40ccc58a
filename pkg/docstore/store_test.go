package docstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

var testSchema = Schema{{
	Name:    "docs",
	Fields:  []Field{{Name: "rank", Kind: Int}, {Name: "name", Kind: String}},
	Indexes: []Index{{Name: "by_rank", Equal: []string{"name"}, Order: "rank"}, {Name: "by_name", Order: "name"}},
}}

var testKey = Key{Collection: "docs", ID: "a"}

// stub answers with errs in turn, then with nil; block makes every call wait
// for its context.
type stub struct {
	errs   []error
	block  bool
	calls  int
	closes int
	query  Query
}

func (s *stub) answer(ctx context.Context) error {
	s.calls++
	if s.block {
		<-ctx.Done()
		return ctx.Err()
	}
	if s.calls <= len(s.errs) {
		return s.errs[s.calls-1]
	}
	return nil
}

func (s *stub) Get(ctx context.Context, key Key) (Doc, error) {
	return Doc{Key: key, Version: 1}, s.answer(ctx)
}

func (s *stub) Query(ctx context.Context, q Query) (Page, error) {
	s.query = q
	return Page{}, s.answer(ctx)
}

func (s *stub) Commit(ctx context.Context, w []Write) ([]Version, error) {
	return make([]Version, len(w)), s.answer(ctx)
}
func (s *stub) Ping(ctx context.Context) error { return s.answer(ctx) }
func (s *stub) Close() error                   { s.closes++; return nil }

func newTestStore(t *testing.T, d Driver, opt Options) *Store {
	t.Helper()
	s, err := New(d, testSchema, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// calls of the port by name, all valid.
var portCalls = map[string]func(context.Context, *Store) error{
	"get": func(ctx context.Context, s *Store) error {
		_, err := s.Get(ctx, testKey)
		return err
	},
	"query": func(ctx context.Context, s *Store) error {
		_, err := s.Query(ctx, Query{Collection: "docs", Index: "by_name"})
		return err
	},
	"commit": func(ctx context.Context, s *Store) error {
		_, err := s.Commit(ctx, []Write{{Op: Create, Key: testKey}})
		return err
	},
	"ping": func(ctx context.Context, s *Store) error { return s.Ping(ctx) },
}

func TestOnlyReadsAreRetriedAndOnlyWhenUnavailable(t *testing.T) {
	t.Parallel()
	many := []error{ErrUnavailable, ErrUnavailable, ErrUnavailable, ErrUnavailable, ErrUnavailable}
	for name, c := range map[string]struct {
		call  string
		errs  []error
		calls int
		want  error
	}{
		"get comes back":          {"get", many[:2], 3, nil},
		"query comes back":        {"query", many[:3], 4, nil},
		"get gives up":            {"get", many, readAttempts, ErrUnavailable},
		"get of nothing":          {"get", []error{ErrNotFound}, 1, ErrNotFound},
		"a bad cursor":            {"query", []error{ErrInvalid}, 1, ErrInvalid},
		"not found after a retry": {"get", []error{ErrUnavailable, ErrNotFound}, 2, ErrNotFound},
		"commit is never retried": {"commit", many, 1, ErrUnavailable},
		"ping is never retried":   {"ping", many, 1, ErrUnavailable},
		"conflict":                {"commit", []error{&ConflictError{Key: testKey}}, 1, ErrConflict},
		"full":                    {"commit", []error{ErrFull}, 1, ErrFull},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &stub{errs: c.errs}
			var waits []int
			s := newTestStore(t, d, Options{Backoff: func(n int) time.Duration {
				waits = append(waits, n)
				return 0
			}})
			err := portCalls[c.call](t.Context(), s)
			if !errors.Is(err, c.want) || d.calls != c.calls || len(waits) != c.calls-1 {
				t.Fatalf("%d calls, %d waits, %v; want %d calls, %v", d.calls, len(waits), err, c.calls, c.want)
			}
		})
	}
}

func TestBackoffGrowsWithJitterAndIsBounded(t *testing.T) {
	t.Parallel()
	for n, base := range map[int]time.Duration{
		1: 10 * time.Millisecond, 2: 20 * time.Millisecond, 3: 40 * time.Millisecond, 1000: 640 * time.Millisecond,
	} {
		for range 100 {
			if d := backoff(n); d < base/2 || d >= base*3/2 {
				t.Fatalf("wait %d is %v, want %v give or take half", n, d, base)
			}
		}
	}
}

// The store's own deadline is the store's failure; the caller's is the caller's.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	for name, call := range portCalls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := &stub{block: true}
				s := newTestStore(t, d, Options{})
				begun := time.Now()
				err := call(t.Context(), s)
				if !errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("own deadline: %v, want unavailable only", err)
				}
				if took := time.Since(begun); took != defaultTimeout || d.calls != 1 {
					t.Errorf("%d calls in %v, want one in %v", d.calls, took, defaultTimeout)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := call(ctx, s); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
					t.Errorf("caller's deadline: %v, want the context's error only", err)
				}
			})
		})
	}
}

// Retries end with the deadline, during a wait too, and a caller who leaves
// does not wait.
func TestRetriesEndWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &stub{errs: []error{ErrUnavailable, ErrUnavailable, ErrUnavailable, ErrUnavailable}}
		s := newTestStore(t, d, Options{Timeout: time.Second, Backoff: func(int) time.Duration { return 600 * time.Millisecond }})
		begun := time.Now()
		if _, err := s.Get(t.Context(), testKey); !errors.Is(err, ErrUnavailable) {
			t.Errorf("get: %v", err)
		}
		if took := time.Since(begun); took != time.Second || d.calls != 2 {
			t.Errorf("%d calls in %v, want two in a second", d.calls, took)
		}
	})
}

func TestCloseIsFinal(t *testing.T) {
	t.Parallel()
	d := &stub{}
	s := newTestStore(t, d, Options{})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, call := range portCalls {
		if err := call(t.Context(), s); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v, want unavailable", name, err)
		}
	}
	if d.calls != 0 || d.closes != 1 {
		t.Errorf("the driver was called %d times and closed %d times", d.calls, d.closes)
	}
}

func TestInvalidRequestsDoNotReachTheDriver(t *testing.T) {
	t.Parallel()
	d := &stub{}
	s := newTestStore(t, d, Options{})
	_, getErr := s.Get(t.Context(), Key{Collection: "docs", ID: "a/b"})
	_, queryErr := s.Query(t.Context(), Query{Collection: "docs", Index: "none"})
	_, commitErr := s.Commit(t.Context(), nil)
	for _, err := range []error{getErr, queryErr, commitErr} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%v, want invalid", err)
		}
	}
	if d.calls != 0 {
		t.Errorf("%d calls", d.calls)
	}
}

func TestQueryGetsTheDefaultLimit(t *testing.T) {
	t.Parallel()
	d := &stub{}
	s := newTestStore(t, d, Options{})
	if _, err := s.Query(t.Context(), Query{Collection: "docs", Index: "by_name"}); err != nil || d.query.Limit != 100 {
		t.Fatalf("limit %d, %v", d.query.Limit, err)
	}
}

func TestNewRefusesABadSchema(t *testing.T) {
	t.Parallel()
	if _, err := New(&stub{}, Schema{{Name: "Bad Name"}}, Options{}); !errors.Is(err, ErrInvalid) {
		t.Fatalf("%v, want invalid", err)
	}
}

func TestEveryCallHasASpanAndIsCountedByOutcome(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	spans := tracetest.NewSpanRecorder()
	d := &stub{errs: []error{nil, ErrNotFound, &ConflictError{}, ErrFull, ErrTooLarge, context.Canceled, errors.New("other")}}
	s := newTestStore(t, d, Options{
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
	})
	for _, name := range []string{"get", "get", "commit", "commit", "commit", "commit", "ping", "query"} {
		_ = portCalls[name](t.Context(), s) // the outcomes are compared below
	}
	_, _ = s.Get(t.Context(), Key{Collection: "docs"})

	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, m := range got.ScopeMetrics[0].Metrics {
		h, ok := m.Data.(metricdata.Histogram[float64])
		if !ok || m.Name != "codexgw.docstore.call" || m.Unit != "s" {
			t.Fatalf("metric %s in %s", m.Name, m.Unit)
		}
		for _, p := range h.DataPoints {
			op, _ := p.Attributes.Value("op")
			outcome, _ := p.Attributes.Value("outcome")
			counts[op.AsString()+" "+outcome.AsString()] = p.Count
		}
	}
	if diff := cmp.Diff(map[string]uint64{
		"get ok": 1, "get not_found": 1, "get invalid": 1, "commit conflict": 1, "commit full": 1,
		"commit too_large": 1, "commit canceled": 1, "ping error": 1, "query ok": 1,
	}, counts); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	names := map[string]int{}
	for _, span := range spans.Ended() {
		names[span.Name()]++
	}
	want := map[string]int{"docstore.get": 3, "docstore.commit": 4, "docstore.ping": 1, "docstore.query": 1}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}

func BenchmarkStoreOverhead(b *testing.B) {
	s, err := New(&stub{}, testSchema, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(b.Context(), testKey); err != nil {
			b.Fatal(err)
		}
	}
}
