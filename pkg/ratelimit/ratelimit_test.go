package ratelimit

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/errs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store counts what reaches it, and fails on demand.
type store struct {
	docstore.Driver

	ops  atomic.Int64
	away atomic.Bool
	// still lets a commit wait until its caller gives up.
	still atomic.Bool
}

func (s *store) Get(ctx context.Context, k docstore.Key) (docstore.Doc, error) {
	s.ops.Add(1)
	if s.away.Load() {
		return docstore.Doc{}, docstore.ErrUnavailable
	}
	return s.Driver.Get(ctx, k)
}

func (s *store) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	s.ops.Add(1)
	if s.away.Load() {
		return nil, docstore.ErrUnavailable
	}
	if s.still.Load() {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return s.Driver.Commit(ctx, writes)
}

func open(tb testing.TB) (*store, *docstore.Store) {
	tb.Helper()
	s := &store{Driver: memstore.New(docstore.Schema{Schema()})}
	docs, err := docstore.New(s, docstore.Schema{Schema()}, docstore.Options{Backoff: func(int) time.Duration { return 0 }})
	if err != nil {
		tb.Fatal(err)
	}
	return s, docs
}

func limiter(tb testing.TB, docs *docstore.Store, now func() time.Time) *Limiter {
	tb.Helper()
	l, err := New(docs, now, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// takes calls n times and returns how many were admitted.
func takes(t *testing.T, l *Limiter, limit, n int) (admitted int) {
	t.Helper()
	for range n {
		switch _, err := l.Take(t.Context(), key, limit); {
		case err == nil:
			admitted++
		case errs.CodeOf(err) != errs.RateLimited:
			t.Fatal(err)
		}
	}
	return admitted
}

func TestWithoutALimitNothingIsCounted(t *testing.T) {
	t.Parallel()
	s, docs := open(t)
	l := limiter(t, docs, time.Now)
	for range 1000 {
		if st, err := l.Take(t.Context(), key, 0); err != nil || st != (State{}) {
			t.Fatalf("%+v %v", st, err)
		}
	}
	if s.ops.Load() != 0 {
		t.Errorf("%d operations", s.ops.Load())
	}
}

func TestACallIsToldWhatIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, docs := open(t)
		l := limiter(t, docs, time.Now)
		for want := 19; want >= 0; want-- {
			st, err := l.Take(t.Context(), key, 20)
			if err != nil {
				t.Fatal(err)
			}
			reset := Window
			if want == 0 {
				reset = l.rules.window - 190*time.Millisecond // until the first is over
			}
			if st.Limit != 20 || st.Left != want || (st.Reset-reset).Abs() > bucketSpan {
				t.Errorf("%+v, want %d left for %s", st, want, reset)
			}
			<-time.After(10 * time.Millisecond)
		}
		st, err := l.Take(t.Context(), key, 20)
		e := errs.From(err)
		ms, ok := e.Data["retry_after_ms"].(int64)
		if e.Code != errs.RateLimited || !ok || st.Left != 0 || st.Limit != 20 {
			t.Fatalf("%+v %v", st, err)
		}
		after := time.Duration(ms) * time.Millisecond
		if after < st.Reset || after > Window+time.Second {
			t.Errorf("retry after %s, reset %s", after, st.Reset)
		}
		<-time.After(after)
		if _, err := l.Take(t.Context(), key, 20); err != nil {
			t.Errorf("after the time that was said: %v", err)
		}
	})
}

// TestARefusedKeyDoesNotReachTheStore is what keeps one client that does not
// listen from being everybody's problem.
func TestARefusedKeyDoesNotReachTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, docs := open(t)
		l := limiter(t, docs, time.Now)
		if n := takes(t, l, 50, 100); n != 50 {
			t.Fatalf("%d admitted", n)
		}
		before := s.ops.Load()
		if n := takes(t, l, 50, 10_000); n != 0 {
			t.Errorf("%d admitted", n)
		}
		if n := s.ops.Load() - before; n != 0 {
			t.Errorf("%d operations for refused calls", n)
		}
	})
}

func TestKeysDoNotShareALimit(t *testing.T) {
	t.Parallel()
	_, docs := open(t)
	l := limiter(t, docs, time.Now)
	for _, k := range []Key{{"a", "b"}, {"a", "c"}, {"b", "b"}, {"", "ab"}, {"ab", ""}, {"a:b", ""}} {
		if _, err := l.Take(t.Context(), k, 1); err != nil {
			t.Errorf("%v: %v", k, err)
		}
		if _, err := l.Take(t.Context(), k, 1); errs.CodeOf(err) != errs.RateLimited {
			t.Errorf("%v: %v", k, err)
		}
	}
}

// TestWithoutTheStoreWhatIsInHandIsUsed and no more: who cannot count must not
// admit. The store is asked again after a pause, not for each call.
func TestWithoutTheStoreWhatIsInHandIsUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, docs := open(t)
		l := limiter(t, docs, time.Now)
		takes(t, l, 100, 1) // the first batch is 10
		s.away.Store(true)
		if n := takes(t, l, 100, 9); n != 9 {
			t.Errorf("%d of 9 in hand", n)
		}
		before := s.ops.Load()
		for range 1000 {
			_, err := l.Take(t.Context(), key, 100)
			if e := errs.From(err); e.Code != errs.Overloaded || e.Data["retry_after_ms"] != int64(1001) {
				t.Fatal(err)
			}
		}
		if n := s.ops.Load() - before; n > 4 { // a write, or a read and its retries
			t.Errorf("%d operations", n)
		}
		s.away.Store(false)
		<-time.After(storePause)
		if n := takes(t, l, 100, 100); n != 90 {
			t.Errorf("%d admitted, 90 are left", n)
		}
	})
}

// TestWhatIsNotUsedGoesBack lets two instances take turns: what the first one
// leased and does not need is there for the second.
func TestWhatIsNotUsedGoesBack(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(stop context.CancelFunc){
		"when it is idle": func(context.CancelFunc) { <-time.After(2 * idle) },
		"when the instance goes away": func(stop context.CancelFunc) {
			stop()
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, docs := open(t)
				one, two := limiter(t, docs, time.Now), limiter(t, docs, time.Now)
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				var done sync.WaitGroup
				done.Go(func() {
					if err := one.Run(ctx); err != nil {
						t.Error(err)
					}
				})
				takes(t, one, 100, 1)
				end(stop)
				if n := takes(t, two, 100, 200); n != 99 {
					t.Errorf("%d admitted, 99 are left", n)
				}
				stop()
				done.Wait()
			})
		})
	}
}

// An instance that goes away while the store stands still waited for each of its
// keys as long as a call may, and was killed over it.
func TestTheFarewellIsShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, docs := open(t)
		l := limiter(t, docs, time.Now)
		for _, id := range []string{"one", "two", "three"} {
			if _, err := l.Take(t.Context(), Key{Tenant: "t", ID: id}, 100); err != nil {
				t.Fatal(err)
			}
		}
		s.still.Store(true)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		began := time.Now()
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > farewell {
			t.Errorf("it took %v, want %v at most", took, farewell)
		}
	})
}

// TestAnotherLimitHoldsAtOnce on the instance that hears of it.
func TestAnotherLimitHoldsAtOnce(t *testing.T) {
	t.Parallel()
	_, docs := open(t)
	l := limiter(t, docs, time.Now)
	if n := takes(t, l, 100, 30); n != 30 {
		t.Fatal(n)
	}
	if n := takes(t, l, 20, 10); n != 0 {
		t.Errorf("%d admitted over the lower limit", n)
	}
	if n := takes(t, l, 40, 100); n != 10 {
		t.Errorf("%d admitted, 10 are left of the higher one", n)
	}
}

// TestTokensDoNotSurviveSleep: the monotonic clock of a machine that slept says
// that no time has passed.
func TestTokensDoNotSurviveSleep(t *testing.T) {
	t.Parallel()
	asked := time.Now()
	h := holding{n: 1, left: 1, asked: asked}
	if !h.good(asked.Add(lease-1), lease) || h.good(asked.Add(lease), lease) {
		t.Error("a lease is not as long as it is")
	}
	if slept := asked.Round(0).Add(time.Hour); h.good(slept, lease) {
		t.Error("the tokens are good after an hour")
	}
}

// TestManyCallersShareOneExchange and none of them is admitted twice; one that
// leaves costs the others nothing.
func TestManyCallersShareOneExchange(t *testing.T) {
	t.Parallel()
	s, docs := open(t)
	instances := []*Limiter{limiter(t, docs, time.Now), limiter(t, docs, time.Now)}
	gone, leave := context.WithCancelCause(t.Context())
	errLeft := errors.New("left")
	leave(errLeft)
	contexts := []context.Context{gone, t.Context()}
	var admitted atomic.Int64
	var callers sync.WaitGroup
	for i := range 64 {
		callers.Go(func() {
			for n := range 50 {
				_, err := instances[i%2].Take(contexts[min(n%10, 1)], key, 1000)
				switch {
				case err == nil:
					admitted.Add(1)
				case errors.Is(err, errLeft), errs.CodeOf(err) == errs.RateLimited:
				default:
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if n := admitted.Load(); n > 1000 || n < 900 {
		t.Errorf("%d admitted of 3200, the limit is 1000", n)
	}
	if n := s.ops.Load(); n > 320 {
		t.Errorf("%d operations for 3200 calls", n)
	}
}

func TestALedgerThatIsOverExpires(t *testing.T) {
	t.Parallel()
	_, docs := open(t)
	now := time.Now()
	l := limiter(t, docs, func() time.Time { return now })
	takes(t, l, 10, 1)
	for _, tc := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {keep - time.Second, 0}, {keep + time.Second, 1}, {keep + time.Second, 0}} {
		if n, err := docs.PurgeExpired(t.Context(), Collection, now.Add(tc.after), 100); err != nil || n != tc.want {
			t.Errorf("after %s: %d removed, %v", tc.after, n, err)
		}
	}
	now = now.Add(keep + time.Second)
	if n := takes(t, l, 10, 20); n != 10 {
		t.Errorf("%d admitted after the ledger was removed", n)
	}
}

// FuzzRead: whatever is in the document, reading and writing it goes on, and what
// it says of the past does not become less.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"epoch":"e","rev":3,"groups":[{"rev":2,"age_ms":10,"at_ms":1,"by":"x","held":5,"used":[[3,4]]}]}`), int64(1_700_000_000_000))
	f.Add([]byte(`{"groups":[{"age_ms":-9223372036854775808,"at_ms":9223372036854775807,"used":[[-1,-1],[]]}]}`), int64(0))
	f.Add([]byte(`[]`), int64(1))
	f.Fuzz(func(t *testing.T, data []byte, ms int64) {
		r, now := standardRules(), time.UnixMilli(ms)
		l, err := read(data, now, nil, r)
		if err != nil {
			return
		}
		next, used, _ := l.next(now, "x", nil, r)
		next.Groups = append(next.Groups, used)
		again, err := next.encode(now)
		if err != nil || !json.Valid(again) {
			t.Fatalf("%s: %v", again, err)
		}
		if _, err := read(again, now, next, r); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkTake is a call that is decided from memory.
func BenchmarkTake(b *testing.B) {
	_, docs := open(b)
	l := limiter(b, docs, time.Now)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.Take(context.Background(), key, 1_000_000_000); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkRefuse is a call over the limit.
func BenchmarkRefuse(b *testing.B) {
	_, docs := open(b)
	l := limiter(b, docs, time.Now)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = l.Take(context.Background(), key, 1)
	}
}
