package scale

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	b := Bounds{PerInstance: 4, Min: 1, Max: 10, ShrinkAfter: time.Minute}
	for name, tc := range map[string]struct {
		d       Demand
		current int
		quiet   time.Duration
		want    int
	}{
		"nothing to do":                      {Demand{}, 1, 0, 1},
		"below the least":                    {Demand{}, 0, 0, 1},
		"one job on an empty pool":           {Demand{Queued: 1}, 0, 0, 1},
		"a full worker and one more job":     {Demand{Queued: 1, Running: 4, Workers: 1}, 1, 0, 2},
		"exactly full":                       {Demand{Queued: 2, Running: 6, Workers: 2}, 2, 0, 2},
		"more than the pool may have":        {Demand{Queued: 1000}, 3, 0, 10},
		"fewer, but not for long":            {Demand{Running: 1, Workers: 1}, 5, 59 * time.Second, 5},
		"fewer for long enough":              {Demand{Running: 1, Workers: 1}, 5, time.Minute, 1},
		"spread over more than needed":       {Demand{Running: 3, Workers: 3}, 5, time.Hour, 3},
		"all workers busy":                   {Demand{Running: 3, Workers: 3}, 3, time.Hour, 3},
		"the most was lowered, jobs run":     {Demand{Running: 48, Workers: 12}, 15, time.Hour, 12},
		"the most was lowered, all are busy": {Demand{Running: 60, Workers: 15}, 15, time.Hour, 15},
		"workers of a pool that was smaller": {Demand{Running: 5, Workers: 5}, 2, 0, 2},
	} {
		if got := b.Decide(tc.d, tc.current, tc.quiet); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

func TestDecideKeepsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		least := rapid.IntRange(0, 20).Draw(t, "min")
		b := Bounds{
			PerInstance: rapid.IntRange(1, 16).Draw(t, "per"), Min: least,
			Max: least + rapid.IntRange(0, 50).Draw(t, "room"), ShrinkAfter: time.Minute,
		}
		running := rapid.IntRange(0, 200).Draw(t, "running")
		d := Demand{
			Queued: rapid.IntRange(0, 2000).Draw(t, "queued"), Running: running,
			Workers: rapid.IntRange(0, running).Draw(t, "workers"),
		}
		current := rapid.IntRange(0, 100).Draw(t, "current")
		quiet := time.Duration(rapid.IntRange(0, 120).Draw(t, "quiet")) * time.Second
		next := b.Decide(d, current, quiet)
		if next < current {
			if next < d.Workers || next*b.PerInstance < running && current <= b.Max {
				t.Errorf("%d → %d below what runs: %+v", current, next, d)
			}
			if quiet < b.ShrinkAfter {
				t.Errorf("shrank after %s", quiet)
			}
		}
		if next > current && next > b.Max {
			t.Errorf("grew to %d, more than %d", next, b.Max)
		}
		if next < b.Min {
			t.Errorf("%d is less than %d", next, b.Min)
		}
		if more := b.Decide(Demand{Queued: d.Queued + 1, Running: d.Running, Workers: d.Workers}, current, quiet); more < next {
			t.Errorf("one more job made it %d instead of %d", more, next)
		}
		if again := b.Decide(d, next, quiet); again != next {
			t.Errorf("not settled: %d → %d → %d", current, next, again)
		}
	})
}

// fakePool has a size and fails on demand.
type fakePool struct {
	size    int
	resized int
	err     error
}

func (p *fakePool) Size(context.Context) (int, error) { return p.size, p.err }

func (p *fakePool) Resize(_ context.Context, n int) error {
	p.resized++
	p.size = n
	return p.err
}

func TestAPoolShrinksAfterAQuietTimeWithoutInterruption(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	p := &fakePool{size: 1}
	s := &Scaler{
		Pool: p, Bounds: Bounds{PerInstance: 1, Max: 10, ShrinkAfter: time.Minute},
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
	}
	step := func(after time.Duration, d Demand, want int) {
		t.Helper()
		now = now.Add(after)
		if err := s.Step(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if p.size != want {
			t.Fatalf("size %d, want %d", p.size, want)
		}
	}
	step(0, Demand{Queued: 5}, 5)
	step(time.Second, Demand{}, 5)
	step(50*time.Second, Demand{}, 5)
	step(time.Second, Demand{Queued: 5}, 5) // the quiet is over
	step(20*time.Second, Demand{}, 5)
	step(59*time.Second, Demand{}, 5)
	step(time.Second, Demand{Running: 1, Workers: 1}, 1)
	if p.resized != 2 {
		t.Errorf("resized %d times, want 2", p.resized)
	}
	p.err = errors.New("quota")
	if err := s.Step(t.Context(), Demand{}); !errors.Is(err, p.err) {
		t.Errorf("%v", err)
	}
}
