package chassis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/chassis"
)

// diary notes what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// component notes every step.
func (d *diary) component(name string) chassis.Component {
	say := func(step string) func(context.Context) error {
		return func(context.Context) error { d.note("%s %s", name, step); return nil }
	}
	return chassis.Component{
		Name: name, Start: say("start"), Quiesce: say("quiesce"), Close: say("close"),
		Drain: func(context.Context) error { d.note("drain"); return nil },
		Run: func(ctx context.Context) error {
			<-ctx.Done()
			d.note("run ends")
			return ctx.Err()
		},
	}
}

var errTest = errors.New("test")

// ample are limits that end a hang: tests in real time are not about them.
var ample = chassis.StopLimits{Quiesce: time.Minute, Drain: time.Minute, Stop: time.Minute, Close: time.Minute}

func TestGroupStopsInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		health := chassis.NewHealth(discard())
		g := chassis.NewGroup(discard(), health, chassis.StopLimits{})
		var d diary
		g.Add(d.component("store"))
		g.Add(d.component("http"))
		g.Add(chassis.Component{Name: "watch", Quiesce: func(ctx context.Context) error {
			d.note("ready %v", health.Check(ctx).Ready)
			return nil
		}})
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		synctest.Wait()
		if !health.Check(ctx).Ready {
			t.Error("started and not ready")
		}
		cancel(errTest)
		if err := <-done; err != nil {
			t.Errorf("error = %v", err)
		}
		want := []string{
			"store start", "http start", "ready false", "http quiesce", "store quiesce",
			"drain", "drain", "run ends", "run ends", "http close", "store close",
		}
		if diff := cmp.Diff(want, d.lines); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
	})
}

// TestAGroupWithinAGroupIsQuiet: the outer one speaks for the whole service,
// once. A log that says "service ready" twice counts as two starts.
func TestAGroupWithinAGroupIsQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := chassis.NewLogger(&log, chassis.LogConfig{})
		var d diary
		inner := chassis.NewInnerGroup(logger, chassis.StopLimits{})
		inner.Add(d.component("part"))
		outer := chassis.NewGroup(logger, chassis.NewHealth(discard()), chassis.StopLimits{})
		outer.Add(chassis.Component{Name: "service", Run: inner.Run})
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- outer.Run(ctx) }()
		synctest.Wait()
		cancel(errTest)
		if err := <-done; err != nil {
			t.Errorf("error = %v", err)
		}
		for _, line := range []string{"service ready", "service stopping"} {
			if n := strings.Count(log.String(), line); n != 1 {
				t.Errorf("%q is logged %d times, want once:\n%s", line, n, log.String())
			}
		}
		if diff := cmp.Diff([]string{"part start", "part quiesce", "drain", "run ends", "part close"}, d.lines); diff != "" {
			t.Errorf("steps of the inner group (-want +got):\n%s", diff)
		}
	})
}

func TestGroupCancelsWithACause(t *testing.T) {
	t.Parallel()
	g := chassis.NewGroup(discard(), chassis.NewHealth(discard()), ample)
	var cause error
	g.Add(chassis.Component{Name: "a", Run: func(ctx context.Context) error {
		<-ctx.Done()
		cause = context.Cause(ctx)
		return cause
	}})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errTest)
	if err := g.Run(ctx); err != nil {
		t.Errorf("a component that returns the cause of its end failed the group: %v", err)
	}
	if !errors.Is(cause, chassis.ErrStopping) || !errors.Is(cause, errTest) {
		t.Errorf("cause = %v, want ErrStopping because of %v", cause, errTest)
	}
}

func TestGroupEndsWithAComponent(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	tests := []struct {
		name string
		run  func(context.Context) error
		want func(error) bool
	}{
		{"in order", func(context.Context) error { return nil }, func(err error) bool { return err == nil }},
		{"failed", func(context.Context) error { return boom }, func(err error) bool { return errors.Is(err, boom) }},
		{"panicked", func(context.Context) error { panic("x") }, func(err error) bool {
			var p *chassis.PanicError
			return errors.As(err, &p)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var d diary
			g := chassis.NewGroup(discard(), chassis.NewHealth(discard()), ample)
			g.Add(d.component("other"))
			g.Add(chassis.Component{Name: "it", Run: tt.run})
			if err := g.Run(t.Context()); !tt.want(err) {
				t.Errorf("error = %v", err)
			}
			if want := []string{"other start", "other quiesce", "drain", "run ends", "other close"}; !cmp.Equal(want, d.lines) {
				t.Errorf("the other component: %v", d.lines)
			}
		})
	}
}

func TestGroupStopsWhatStarted(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	var d diary
	health := chassis.NewHealth(discard())
	g := chassis.NewGroup(discard(), health, ample)
	g.Add(d.component("first"))
	g.Add(chassis.Component{Name: "broken", Start: func(context.Context) error { return boom }, Close: func(context.Context) error {
		d.note("broken close")
		return nil
	}})
	g.Add(d.component("never"))
	if err := g.Run(t.Context()); !errors.Is(err, boom) {
		t.Errorf("error = %v", err)
	}
	if want := []string{"first start", "first quiesce", "drain", "run ends", "first close"}; !cmp.Equal(want, d.lines) {
		t.Errorf("steps = %v, want %v", d.lines, want)
	}
	if health.Check(t.Context()).Ready {
		t.Error("ready after a failed start")
	}
}

func TestGroupBoundsEveryStage(t *testing.T) {
	t.Parallel()
	limits := chassis.StopLimits{Quiesce: time.Second, Drain: 10 * time.Second, Stop: 2 * time.Second, Close: time.Second}
	polite := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	tests := []struct {
		name    string
		part    func(forever func(context.Context) error) chassis.Component
		most    time.Duration
		failure bool
	}{
		{"quiesce hangs", func(f func(context.Context) error) chassis.Component { return chassis.Component{Quiesce: f} }, 1100 * time.Millisecond, true},
		{"work in hand ends with the soft limit", func(func(context.Context) error) chassis.Component { return chassis.Component{Drain: polite} }, 10 * time.Second, false},
		{"drain hangs", func(f func(context.Context) error) chassis.Component { return chassis.Component{Drain: f} }, 10100 * time.Millisecond, false},
		{"run hangs", func(f func(context.Context) error) chassis.Component { return chassis.Component{Run: f} }, 2 * time.Second, true},
		{"close hangs", func(f func(context.Context) error) chassis.Component { return chassis.Component{Close: f} }, 1100 * time.Millisecond, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				part := tt.part(func(context.Context) error { <-release; return nil })
				part.Name = "stuck"
				closed := false
				g := chassis.NewGroup(discard(), chassis.NewHealth(discard()), limits)
				g.Add(chassis.Component{Name: "other", Close: func(context.Context) error { closed = true; return nil }})
				g.Add(part)
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				start := time.Now()
				err := g.Run(ctx)
				if took := time.Since(start); took > tt.most {
					t.Errorf("took %v, want at most %v", took, tt.most)
				}
				if (err != nil) != tt.failure {
					t.Errorf("error = %v, want one: %v", err, tt.failure)
				}
				if !closed && tt.name != "close hangs" {
					t.Error("the other component was not closed")
				}
			})
		})
	}
}

func TestGroupJoinsFailures(t *testing.T) {
	t.Parallel()
	failures := []error{errors.New("run"), errors.New("quiesce"), errors.New("drain"), errors.New("close")}
	fail := func(i int) func(context.Context) error {
		return func(context.Context) error { return failures[i] }
	}
	g := chassis.NewGroup(discard(), chassis.NewHealth(discard()), ample)
	g.Add(chassis.Component{Name: "a", Run: fail(0), Quiesce: fail(1), Drain: fail(2), Close: fail(3)})
	err := g.Run(t.Context())
	for _, want := range failures {
		if !errors.Is(err, want) {
			t.Errorf("error lacks %v: %v", want, err)
		}
	}
}

// TestGroupStartStopStress stops groups at every point of their start, with a
// real server in them.
func TestGroupStartStopStress(t *testing.T) {
	t.Parallel()
	for i := range 50 {
		ln, err := chassis.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var d diary
		g := chassis.NewGroup(discard(), chassis.NewHealth(discard()), ample)
		g.Add(d.component("a"))
		g.Add(chassis.HTTPServer("http", ln, http.NotFoundHandler(), discard()))
		g.Add(d.component("b"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*20*time.Microsecond)
		if err := g.Run(ctx); err != nil {
			t.Errorf("round %d: %v", i, err)
		}
		cancel()
		if len(d.lines) != 10 {
			t.Errorf("round %d: %v", i, d.lines)
		}
	}
}
