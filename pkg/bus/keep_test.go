package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/pkg/bus"
)

// openings is a bus whose subscription does what a test says, opening by opening.
type openings struct {
	calls int
	do    func(ctx context.Context, call int, ready chan<- struct{}) error
}

func (o *openings) Receive(ctx context.Context, _ string, opt bus.ReceiveOptions, _ bus.Handler) error {
	o.calls++
	return o.do(ctx, o.calls, opt.Ready)
}

func TestKeepOpensABrokenSubscriptionWithGrowingPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var at []time.Duration
		began := time.Now()
		o := &openings{do: func(context.Context, int, chan<- struct{}) error {
			at = append(at, time.Since(began))
			if len(at) == 9 {
				stop()
			}
			return fmt.Errorf("away: %w", bus.ErrUnavailable)
		}}
		if err := bus.Keep(ctx, o, "s", bus.KeepOptions{MaxOutstanding: 1, Logger: slog.New(slog.DiscardHandler)}, nil); err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{1, 2, 4, 8, 16, 30, 30, 30} {
			if got := at[i+1] - at[i]; got != time.Duration(want)*time.Second {
				t.Errorf("pause %d was %s, want %ds", i, got, want)
			}
		}
	})
}

func TestKeepSaysOnceThatItBrokeAndOnceThatItHears(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var out bytes.Buffer
		var opened, lost int
		o := &openings{do: func(ctx context.Context, call int, ready chan<- struct{}) error {
			if call%5 != 0 {
				return bus.ErrUnavailable
			}
			close(ready)
			if call == 10 {
				stop()
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Minute):
				return errors.New("broken")
			}
		}}
		opt := bus.KeepOptions{
			MaxOutstanding: 1, Logger: slog.New(slog.NewTextHandler(&out, nil)),
			Opened: func(ctx context.Context) { opened++; <-ctx.Done() }, Lost: func() { lost++ },
		}
		if err := bus.Keep(ctx, o, "s", opt, nil); err != nil {
			t.Fatal(err)
		}
		if warns := strings.Count(out.String(), "level=WARN"); warns != 2 {
			t.Errorf("%d warnings, want one for each time it broke:\n%s", warns, out.String())
		}
		if opened != lost || opened < 1 || opened != strings.Count(out.String(), "level=INFO") {
			t.Errorf("opened %d times, lost %d times\n%s", opened, lost, out.String())
		}
	})
}

func TestKeepReturnsWhatCannotHeal(t *testing.T) {
	t.Parallel()
	for _, want := range []error{bus.ErrClosed, bus.ErrInvalid, bus.ErrUnknownTopic} {
		o := &openings{do: func(context.Context, int, chan<- struct{}) error { return fmt.Errorf("x: %w", want) }}
		err := bus.Keep(t.Context(), o, "s", bus.KeepOptions{MaxOutstanding: 1, Logger: slog.New(slog.DiscardHandler)}, nil)
		if !errors.Is(err, want) || o.calls != 1 {
			t.Errorf("%v after %d openings, want %v", err, o.calls, want)
		}
	}
}

func TestKeepTreatsAnEndByItselfAsABreak(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		o := &openings{do: func(_ context.Context, call int, _ chan<- struct{}) error {
			if call == 3 {
				stop()
			}
			return nil
		}}
		if err := bus.Keep(ctx, o, "s", bus.KeepOptions{MaxOutstanding: 1, Logger: slog.New(slog.DiscardHandler)}, nil); err != nil || o.calls != 3 {
			t.Errorf("%v after %d openings", err, o.calls)
		}
	})
}
