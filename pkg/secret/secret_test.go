package secret_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/pkg/secret/secrettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestValueIsShownNowhere(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"sk-live-0123456789", "line\nline\t\"quoted\"", "<html>&\u2028"} {
		secrettest.CheckRedacted(t, secret.NewValue(s))
	}
}

func TestZeroValueIsEmpty(t *testing.T) {
	t.Parallel()
	var v secret.Value
	if !v.Empty() || v.Reveal() != "" || v.String() == "" {
		t.Error("the zero value is not an empty secret")
	}
	if !v.Equal(secret.NewValue("")) || v.Equal(secret.NewValue("x")) || !secret.NewValue("x").Equal(secret.NewValue("x")) {
		t.Error("Equal is wrong")
	}
}

// scripted answers as told and counts the questions.
type scripted struct {
	calls  atomic.Int64
	answer func(ctx context.Context, call int64) (secret.Value, error)
	closed atomic.Bool
}

var _ secret.Driver = (*scripted)(nil)

func (s *scripted) Latest(ctx context.Context, _ string) (secret.Value, error) {
	return s.answer(ctx, s.calls.Add(1))
}

func (s *scripted) Close() error { s.closed.Store(true); return nil }

var errDown = errors.New("driver down")

func quietly() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestManyCallersAskOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		d := &scripted{answer: func(context.Context, int64) (secret.Value, error) { <-release; return secret.NewValue("v"), nil }}
		s := secret.New(d, secret.Options{})
		defer s.Close()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if v, err := s.Get(t.Context(), "name"); err != nil || v.Reveal() != "v" {
					t.Errorf("get: %v", err)
				}
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if got := d.calls.Load(); got != 1 {
			t.Errorf("%d questions, want 1", got)
		}
	})
}

func TestOneCallerLeavingDoesNotDisturbTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &scripted{answer: func(ctx context.Context, _ int64) (secret.Value, error) {
			select {
			case <-time.After(time.Second):
				return secret.NewValue("v"), nil
			case <-ctx.Done():
				return secret.Value{}, ctx.Err()
			}
		}}
		s := secret.New(d, secret.Options{})
		defer s.Close()
		leaves, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.Get(leaves, "name"); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want Canceled", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if v, err := s.Get(t.Context(), "name"); err != nil || v.Reveal() != "v" {
				t.Errorf("get: %v", err)
			}
		})
		synctest.Wait()
		leave()
		wg.Wait()
	})
}

func TestOldValueWhileTheDriverFails(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	down := false
	d := &scripted{answer: func(_ context.Context, call int64) (secret.Value, error) {
		if down {
			return secret.Value{}, errDown
		}
		return secret.NewValue(string(rune('a' + call))), nil
	}}
	s := secret.New(d, secret.Options{TTL: time.Minute, MaxStale: time.Hour, Now: func() time.Time { return now }, Logger: quietly()})
	defer s.Close()
	steps := []struct {
		at    time.Duration
		down  bool
		calls int64 // questions so far
		fails bool
	}{
		{0, false, 1, false},
		{30 * time.Second, true, 1, false},          // within the TTL nobody asks
		{time.Minute, true, 2, false},               // the old value
		{time.Minute + time.Second, true, 2, false}, // and no question for 5 s
		{time.Minute + 6*time.Second, true, 3, false},
		{time.Hour + 59*time.Second, true, 4, false},
		{time.Hour + 61*time.Second, true, 5, true}, // too old
		{time.Hour + 62*time.Second, false, 6, false},
	}
	for _, step := range steps {
		now, down = time.Unix(0, 0).Add(step.at), step.down
		v, err := s.Get(t.Context(), "name")
		if got := err != nil; got != step.fails {
			t.Errorf("at %s: error %v", step.at, err)
		}
		if step.fails && (!errors.Is(err, errDown) || !v.Empty()) {
			t.Errorf("at %s: error %v, want the driver's and no value", step.at, err)
		}
		if got := d.calls.Load(); got != step.calls {
			t.Errorf("at %s: %d questions, want %d", step.at, got, step.calls)
		}
		if got := s.Ping(t.Context()) != nil; got && !step.down {
			t.Errorf("at %s: not ready", step.at)
		}
		d.calls.Store(step.calls) // Ping asks too while the driver fails
	}
}

func TestDeletedSecretIsGoneAtOnceAfterTheTTL(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	d := &scripted{answer: func(_ context.Context, call int64) (secret.Value, error) {
		if call == 1 {
			return secret.NewValue("v"), nil
		}
		return secret.Value{}, secret.ErrNotFound
	}}
	s := secret.New(d, secret.Options{Now: func() time.Time { return now }, Logger: quietly()})
	defer s.Close()
	if _, err := s.Get(t.Context(), "name"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if v, err := s.Get(t.Context(), "name"); !errors.Is(err, secret.ErrNotFound) || !v.Empty() {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("not found is no failure of the driver: %v", err)
	}
}

func TestSlowDriverMeetsTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &scripted{answer: func(ctx context.Context, _ int64) (secret.Value, error) {
			<-ctx.Done()
			return secret.Value{}, ctx.Err()
		}}
		s := secret.New(d, secret.Options{Timeout: 2 * time.Second, Logger: quietly()})
		defer s.Close()
		began := time.Now()
		if _, err := s.Get(t.Context(), "name"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want DeadlineExceeded", err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %s, want 2s", took)
		}
		if err := s.Ping(t.Context()); err == nil {
			t.Error("ready although the driver failed")
		}
	})
}

func TestCloseEndsRunningQuestions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &scripted{answer: func(ctx context.Context, _ int64) (secret.Value, error) {
			<-ctx.Done()
			return secret.Value{}, context.Cause(ctx)
		}}
		s := secret.New(d, secret.Options{Logger: quietly()})
		done := make(chan error, 1)
		go func() { _, err := s.Get(t.Context(), "name"); done <- err }()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-done; !errors.Is(err, secret.ErrClosed) {
			t.Errorf("running get: error %v, want ErrClosed", err)
		}
		if _, err := s.Get(t.Context(), "name"); !errors.Is(err, secret.ErrClosed) {
			t.Errorf("get: error %v, want ErrClosed", err)
		}
		if err := s.Ping(t.Context()); !errors.Is(err, secret.ErrClosed) {
			t.Errorf("ping: error %v, want ErrClosed", err)
		}
		if !d.closed.Load() {
			t.Error("the driver is still open")
		}
	})
}

func TestInvalidNameNeverReachesTheDriver(t *testing.T) {
	t.Parallel()
	d := &scripted{}
	s := secret.New(d, secret.Options{})
	defer s.Close()
	if _, err := s.Get(t.Context(), "../etc/passwd"); !errors.Is(err, secret.ErrInvalidName) {
		t.Errorf("error %v, want ErrInvalidName", err)
	}
	if d.calls.Load() != 0 {
		t.Error("the driver was asked")
	}
}

func FuzzValidName(f *testing.F) {
	for _, s := range []string{"a", "a-b", "..", "a/b", "", "-", "a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !secret.ValidName(name) {
			return
		}
		for _, c := range name {
			if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				t.Errorf("%q is valid", name)
			}
		}
	})
}
