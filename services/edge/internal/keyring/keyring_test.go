package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deaf is a bus that never hears.
type deaf struct{}

func (deaf) Receive(ctx context.Context, _ string, _ bus.ReceiveOptions, _ bus.Handler) error {
	<-ctx.Done()
	return nil
}

// store is the keys of a test.
type store struct {
	mu    sync.Mutex
	keys  map[string]*apikey.Record
	reads atomic.Int64
	used  atomic.Int64
	// within runs in a Verify, after its read; slow is how long that takes.
	within func()
	slow   time.Duration
	err    error
}

func (s *store) record(keyID string) *apikey.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.keys[keyID]
	if r == nil {
		return nil
	}
	c := *r
	return &c
}

func (s *store) Verify(_ context.Context, parts apikey.Parts) (apikey.Verified, error) {
	s.reads.Add(1)
	r := s.record(parts.KeyID())
	if s.slow > 0 {
		<-time.After(s.slow)
	}
	if within := s.within; within != nil {
		s.within = nil
		within()
	}
	switch {
	case s.err != nil:
		return apikey.Verified{}, s.err
	case r == nil:
		return apikey.Verified{}, apikey.ErrUnknown
	}
	until, err := r.Good(r.Secret.Number, time.Now())
	return apikey.Verified{Record: r, Secret: r.Secret.Number, Until: until}, err
}

func (s *store) Get(_ context.Context, keyID string) (*apikey.Record, error) {
	s.reads.Add(1)
	if r := s.record(keyID); r != nil {
		return r, nil
	}
	return nil, errs.New(errs.NotFound, "")
}

func (s *store) Used(context.Context, string, time.Time) error { s.used.Add(1); return nil }

// bench is a ring that runs, in a bubble.
type bench struct {
	*Ring

	t     testing.TB
	store *store
	open  *streams.Set
}

func start(tb testing.TB) *bench {
	tb.Helper()
	b := &bench{t: tb, store: &store{keys: map[string]*apikey.Record{}}, open: streams.New(0)}
	var err error
	if b.Ring, err = New(b.store, deaf{}, b.open, slog.New(slog.DiscardHandler), time.Now); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return b
}

// key makes a key that the store knows.
func (b *bench) key(change ...func(*apikey.Record)) (keyID string, key auth.Credential) {
	b.t.Helper()
	v, parts := made(b.t)
	r := &apikey.Record{ID: parts.KeyID(), Tenant: "acme", Scopes: apikey.DefaultScopes(), Secret: apikey.Secret{Number: 1}}
	for _, c := range change {
		c(r)
	}
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.keys[r.ID] = r
	return r.ID, auth.Credential{Scheme: auth.Bearer, Token: v}
}

func made(tb testing.TB) (secret.Value, apikey.Parts) {
	tb.Helper()
	v, err := apikey.Make("test")
	if err != nil {
		tb.Fatal(err)
	}
	parts, _ := apikey.Parse(v.Reveal())
	return v, parts
}

func (b *bench) revoke(keyID string) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.keys[keyID].RevokedAt = time.Now()
}

func (b *bench) reads(what string, want int64) {
	b.t.Helper()
	if got := b.store.reads.Swap(0); got != want {
		b.t.Errorf("%s: %d reads, want %d", what, got, want)
	}
}

func TestAHotKeyIsReadOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		b.store.slow = 50 * time.Millisecond
		keyID, key := b.key()
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				if p, err := b.Identify(t.Context(), key); err != nil || p.KeyID != keyID || p.Tenant != "acme" || p.Secret != 1 {
					t.Errorf("%+v, %v", p, err)
				}
			})
		}
		callers.Wait()
		b.reads("a hundred at once", 1)
		if _, err := b.Identify(t.Context(), key); err != nil {
			t.Error(err)
		}
		b.reads("one more", 0)
		<-time.After(keep + time.Second)
		if _, err := b.Identify(t.Context(), key); err != nil {
			t.Error(err)
		}
		b.reads("when its time is over", 1)
	})
}

func TestGarbageDrivesNoKeyOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		_, key := b.key()
		if _, err := b.Identify(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		b.store.reads.Store(0)
		for range 2 * maxStrangers {
			v, _ := made(t)
			if _, err := b.Identify(t.Context(), auth.Credential{Scheme: auth.Bearer, Token: v}); errs.CodeOf(err) != errs.Unauthenticated {
				t.Fatal(err)
			}
		}
		b.reads("each stranger", 2*maxStrangers)
		if _, err := b.Identify(t.Context(), key); err != nil {
			t.Error(err)
		}
		b.reads("the key in use", 0)
		if n := b.strangers.Len(); n > maxStrangers {
			t.Errorf("%d strangers are remembered", n)
		}
	})
}

func TestWhatNeedsNoRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		stranger, _ := made(t)
		typo := stranger.Reveal()[:20] + "!" + stranger.Reveal()[21:]
		for name, tc := range map[string]struct {
			c    auth.Credential
			mine bool
		}{
			"a typing error":   {auth.Credential{Scheme: auth.Bearer, Token: secret.NewValue(typo)}, true},
			"another kind":     {auth.Credential{Scheme: auth.Bearer, Token: secret.NewValue("eyJhbGciOi")}, false},
			"another scheme":   {auth.Credential{Scheme: "Ticket", Token: stranger}, false},
			"nothing":          {auth.Credential{Scheme: auth.Bearer}, false},
			"only the prefix":  {auth.Credential{Scheme: auth.Bearer, Token: secret.NewValue("cgw_")}, true},
			"a key and a line": {auth.Credential{Scheme: auth.Bearer, Token: secret.NewValue(stranger.Reveal() + "\n")}, true},
		} {
			_, err := b.Identify(t.Context(), tc.c)
			if errors.Is(err, auth.ErrNotMine) == tc.mine || tc.mine && errs.CodeOf(err) != errs.Unauthenticated {
				t.Errorf("%s: %v", name, err)
			}
		}
		b.reads("all of them", 0)
		for range 3 {
			if _, err := b.Identify(t.Context(), auth.Credential{Scheme: auth.Bearer, Token: stranger}); errs.CodeOf(err) != errs.Unauthenticated {
				t.Error(err)
			}
		}
		b.reads("a stranger again and again", 1)
	})
}

// The read of a key and its revocation at the same moment: what was read is from
// before, and must not be kept.
func TestAKeyRevokedWhileItIsReadIsReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		keyID, key := b.key()
		b.store.within = func() {
			b.revoke(keyID)
			b.Revoked(keyID)
		}
		if _, err := b.Identify(t.Context(), key); errs.CodeOf(err) != errs.Unauthenticated {
			t.Errorf("%v, want it refused", err)
		}
		b.reads("one from before and one after", 2)
	})
}

func TestAKeyIsRefusedAtItsEndWhateverIsCached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		_, key := b.key(func(r *apikey.Record) { r.ExpiresAt = time.Now().Add(2 * time.Second) })
		if _, err := b.Identify(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second)
		if _, err := b.Identify(t.Context(), key); errs.CodeOf(err) != errs.Unauthenticated {
			t.Errorf("%v, want it refused", err)
		}
		b.reads("both", 1)
	})
}

// The event of a revocation is lost: the key is out all the same, and so are its
// streams.
func TestALostRevocationIsMadeGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		keyID, key := b.key()
		p, err := b.Identify(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		stream, _ := b.open.Open(streams.Credential{KeyID: p.KeyID, Secret: p.Secret})
		defer stream.Close()
		over := make(chan error, 1)
		stream.WhenOver(func(why error) { over <- why })
		b.revoke(keyID)
		<-time.After(keep + time.Second)
		synctest.Wait()
		select {
		case why := <-over:
			if !errors.Is(why, apikey.ErrRevoked) {
				t.Errorf("ended with %v", why)
			}
		default:
			t.Error("the stream goes on")
		}
		if _, err := b.Identify(t.Context(), key); errs.CodeOf(err) != errs.Unauthenticated {
			t.Errorf("%v, want it refused", err)
		}
	})
}

func TestAStoreThatIsAwayIsNoRefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		_, key := b.key()
		for _, err := range []error{apikey.ErrNoPepper, errors.New("broken")} {
			b.store.err = err
			if _, got := b.Identify(t.Context(), key); errs.CodeOf(got) != errs.Overloaded {
				t.Errorf("%v: %v, want overloaded", err, got)
			}
		}
		b.store.err = nil
		if _, err := b.Identify(t.Context(), key); err != nil {
			t.Errorf("it is back: %v", err)
		}
	})
}

func TestUsesAreNotedOnceAndBeforeTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		for range 3 {
			_, key := b.key()
			for range 10 {
				if _, err := b.Identify(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, recent := b.key(func(r *apikey.Record) { r.LastUsedAt = time.Now() })
		if _, err := b.Identify(t.Context(), recent); err != nil {
			t.Fatal(err)
		}
		if n := b.store.used.Load(); n != 0 {
			t.Errorf("%d notes while requests wait", n)
		}
		<-time.After(noteEvery)
		synctest.Wait()
		if n := b.store.used.Load(); n != 3 {
			t.Errorf("%d notes, want one of each key", n)
		}
	})
}

// BenchmarkAuthCacheHit is the cost of a key that was shown before.
func BenchmarkAuthCacheHit(b *testing.B) {
	w := start(b)
	_, key := w.key()
	for i := range 5000 { // as many others
		_, other := w.key(func(r *apikey.Record) { r.Tenant = fmt.Sprint(i) })
		if _, err := w.Identify(b.Context(), other); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Identify(b.Context(), key); err != nil {
			b.Fatal(err)
		}
	}
}

// Who has to look at a log line is told by its level: nobody at what passes.
func TestWhatIsAwayIsAWarning(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		level string
	}{
		"the store is away":  {fmt.Errorf("get: %w", docstore.ErrUnavailable), "WARN"},
		"the secrets are":    {fmt.Errorf("pepper: %w", secret.ErrUnavailable), "WARN"},
		"they are slow":      {fmt.Errorf("pepper: %w", context.DeadlineExceeded), "WARN"},
		"no pepper":          {fmt.Errorf("pepper: %w", apikey.ErrNoPepper), "ERROR"},
		"not to be foreseen": {errors.New("the payload does not match its checksum"), "ERROR"},
		"a wrong request":    {docstore.ErrInvalid, "ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			r, err := New(&store{}, deaf{}, streams.New(0), slog.New(slog.NewTextHandler(&out, nil)), time.Now)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time it is not told
				r.complain(c.err)
			}
			if got := out.String(); strings.Count(got, "level=") != 1 || !strings.Contains(got, "level="+c.level) {
				t.Errorf("logged %q, want one line of %s", got, c.level)
			}
		})
	}
}
