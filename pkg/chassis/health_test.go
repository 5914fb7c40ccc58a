package chassis_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/pkg/chassis"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func probe(t *testing.T, h http.Handler) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	return w.Code, w.Body.String()
}

func TestHealthIsAlive(t *testing.T) {
	t.Parallel()
	h := chassis.NewHealth(discard())
	h.SetDraining()
	if code, body := probe(t, h.Live()); code != http.StatusOK || strings.TrimSpace(body) != `{"status":"healthy"}` {
		t.Errorf("%d %s", code, body)
	}
}

func TestReadyFollowsTheService(t *testing.T) {
	t.Parallel()
	h := chassis.NewHealth(discard())
	h.AddCheck("store", 0, func(context.Context) error { return nil })
	want := func(code int, status string) {
		t.Helper()
		got, body := probe(t, h.Ready())
		if lines := `{"name":"service","status":"` + status + `"}` + "\n" + `{"name":"store","status":"ok"}` + "\n"; got != code || body != lines {
			t.Errorf("%d\n%s\nwant %d\n%s", got, body, code, lines)
		}
	}
	want(http.StatusServiceUnavailable, "starting")
	h.SetReady()
	want(http.StatusOK, "ok")
	h.SetDraining()
	want(http.StatusServiceUnavailable, "draining")
	h.SetReady()
	want(http.StatusServiceUnavailable, "draining")
}

func TestReadyFollowsDependencies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := chassis.NewHealth(chassis.NewLogger(&log, chassis.LogConfig{}))
		release := make(chan struct{})
		var broken, asked atomic.Int32
		h.AddCheck("good", 0, func(context.Context) error { return nil })
		h.AddCheck("bad", 0, func(context.Context) error {
			if broken.Load() > 0 {
				return errors.New("dial tcp 10.0.0.1: hunter2")
			}
			return nil
		})
		h.AddCheck("panics", 0, func(context.Context) error {
			if broken.Load() > 0 {
				panic("x")
			}
			return nil
		})
		h.AddCheck("hangs", time.Second, func(context.Context) error {
			asked.Add(1)
			if broken.Load() > 0 {
				<-release // whatever its context says
			}
			return nil
		})
		h.SetReady()
		if code, body := probe(t, h.Ready()); code != http.StatusOK {
			t.Errorf("all good: %d\n%s", code, body)
		}
		broken.Store(1)
		for range 3 { // a check that hangs is asked once, not once per probe
			<-time.After(2 * time.Second)
			code, body := probe(t, h.Ready())
			want := `{"name":"service","status":"ok"}
{"name":"good","status":"ok"}
{"name":"bad","status":"failed"}
{"name":"panics","status":"failed"}
{"name":"hangs","status":"timeout"}
`
			if code != http.StatusServiceUnavailable || body != want {
				t.Errorf("broken: %d\n%s\nwant\n%s", code, body, want)
			}
		}
		if got := asked.Load(); got != 2 {
			t.Errorf("the hanging check was asked %d times, want once good and once hanging", got)
		}
		if n := strings.Count(log.String(), "dependency failed"); n != 3 {
			t.Errorf("%d failures logged, want one per dependency:\n%s", n, log.String())
		}
		close(release)
		broken.Store(0)
		<-time.After(2 * time.Second)
		if code, body := probe(t, h.Ready()); code != http.StatusOK {
			t.Errorf("recovered: %d\n%s", code, body)
		}
	})
}

// A check's context ended before its answer was heard, so one dependency in some
// thousand was called failed for nothing.
func TestAnAnswerIsNotTakenForATimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := chassis.NewHealth(discard())
		for range 20 {
			h.AddCheck("good", 0, func(context.Context) error { return nil })
		}
		h.SetReady()
		for round := range 300 {
			if r := h.Check(t.Context()); !r.Ready {
				t.Fatalf("round %d: %+v", round, r)
			}
			<-time.After(2 * time.Second)
		}
	})
}

func TestReadyDoesNotLoadDependencies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := chassis.NewHealth(discard())
		var asked atomic.Int32
		h.AddCheck("store", 0, func(context.Context) error {
			asked.Add(1)
			<-time.After(100 * time.Millisecond)
			return nil
		})
		for range 100 {
			go probe(t, h.Ready())
		}
		<-time.After(time.Second)
		synctest.Wait()
		if got := asked.Load(); got != 1 {
			t.Errorf("100 probes asked %d times, want 1", got)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if r := h.Check(gone); r.Ready {
			t.Error("not marked ready, and ready")
		}
	})
}

func TestOnlyTheInternalListenerSaysWhy(t *testing.T) {
	t.Parallel()
	h := chassis.NewHealth(discard())
	h.SetReady()
	h.AddCheck("bus", 0, func(context.Context) error { return errors.New("topic x does not exist") })
	for _, c := range []struct {
		handler http.Handler
		says    bool
	}{{h.Ready(), false}, {h.Explain(), true}, {h.Ready(), false}} {
		code, body := probe(t, c.handler)
		if code != http.StatusServiceUnavailable || strings.Contains(body, "topic x does not exist") != c.says {
			t.Errorf("%d %s, want a reason: %v", code, body, c.says)
		}
	}
}

// TestACheckThatComesLateIsAskedAtOnce: a process that answers probes before it
// has opened anything must not be called ready for the checks that it had then.
func TestACheckThatComesLateIsAskedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the clock stands still: a round would serve everyone
		h := chassis.NewHealth(discard())
		if h.Check(t.Context()).Ready {
			t.Error("ready before the start")
		}
		h.AddCheck("bus", 0, func(context.Context) error { return errTest })
		h.SetReady()
		if code, body := probe(t, h.Ready()); code != http.StatusServiceUnavailable || !strings.Contains(body, `{"name":"bus","status":"failed"}`) {
			t.Errorf("%d %s, want the check that came after the first probe", code, body)
		}
	})
}

func TestChecksMayComeWhileProbesAreAnswered(t *testing.T) {
	t.Parallel()
	h := chassis.NewHealth(discard())
	var probes sync.WaitGroup
	for range 8 {
		probes.Go(func() { probe(t, h.Ready()) })
		h.AddCheck("bus", 0, func(context.Context) error { return nil })
	}
	probes.Wait()
	if got := len(h.Check(t.Context()).Lines); got != 9 {
		t.Errorf("%d lines, want the service and 8 checks", got)
	}
}
