package ratelimit

import (
	"context"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// live lets a world live for some minutes: calls that come one by one and in
// bursts, on all instances or on one, pauses, crashes, an instance that stands still
// with tokens in hand.
func (w *world) live(ctx context.Context, minutes int) error {
	for end := w.t + time.Duration(minutes)*time.Minute; w.t < end; {
		in := w.instances[w.rand.IntN(len(w.instances))]
		if w.t < in.asleep {
			w.t += 100 * time.Millisecond
			continue
		}
		switch w.rand.IntN(20) {
		case 0:
			if w.chance(10) {
				in.asleep = w.t + time.Duration(w.rand.Int64N(int64(3*time.Minute)))
				continue
			}
			w.t += time.Duration(w.rand.Int64N(int64(20 * time.Second)))
		case 1:
			if w.chance(20) {
				if err := w.start(in); err != nil {
					return err
				}
			}
		case 2, 3:
			w.keep(ctx, in)
		case 4:
			for range w.rand.IntN(2 * w.limit) {
				if err := w.call(ctx, in); err != nil {
					return err
				}
			}
		default:
			w.t += time.Duration(w.rand.Int64N(int64(time.Minute) / int64(w.limit)))
			if err := w.call(ctx, in); err != nil {
				return err
			}
		}
	}
	return w.check()
}

// drawWorld draws a world whose clocks are as wrong as they may be.
func drawWorld(t *rapid.T, r rules) *world {
	percent := rapid.SampledFrom([]int{0, 0, 2, 20})
	w, err := newWorld(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(4, 7).Draw(t, "instances"),
		rapid.SampledFrom([]int{1, 3, 10, 40, 100}).Draw(t, "limit"), faults{
			lost: percent.Draw(t, "lost"), late: percent.Draw(t, "late"), away: percent.Draw(t, "away"),
			meddle: percent.Draw(t, "meddle"), slow: percent.Draw(t, "slow"),
			unkept: rapid.Bool().Draw(t, "unkept"),
		}, r)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestNoWindowHasMoreThanTheLimit is the promise: with four and more instances
// whose clocks are a minute apart and drift, that crash, whose answers are lost
// or late and whose writes collide.
func TestNoWindowHasMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t, standardRules())
		if err := w.live(t.Context(), 6); err != nil {
			t.Fatal(err)
		}
		if f := w.faults; len(w.admitted) < w.limit && f.lost+f.late+f.away == 0 {
			t.Fatalf("%d calls were admitted in six minutes", len(w.admitted))
		}
	})
}

// TestTheCheckerFindsWhatIsBroken is the same with rules that forget one thing
// each: what the checker says of the right ones would be worth nothing if it
// said it of these.
func TestTheCheckerFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(r *rules){
		"clocks are taken to agree":                     func(r *rules) { r.skew = 0 },
		"clocks are taken to agree better than they do": func(r *rules) { r.skew = MaxSkew },
		"tokens in hand are not counted to their end":   func(r *rules) { r.hold = r.window },
		"a lease has no end":                            func(r *rules) { r.lease = time.Hour },
		"the window is too short":                       func(r *rules) { r.window -= 2 * time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := standardRules()
			breaks(&r)
			for seed := range uint64(200) {
				w, err := newWorld(seed, 4, 40, faults{lost: 2, meddle: 2, slow: 2, unkept: true}, r)
				if err != nil {
					t.Fatal(err)
				}
				if err := w.live(t.Context(), 6); err != nil {
					if !strings.Contains(err.Error(), "the limit is 40") {
						t.Fatal(err)
					}
					return
				}
			}
			t.Error("200 worlds lived with it and nobody noticed")
		})
	}
}

// demand is calls that come to all instances evenly.
func (w *world) demand(ctx context.Context, perMinute, minutes int) error {
	kept := w.t
	pause := time.Minute / time.Duration(perMinute)
	for end := w.t + time.Duration(minutes)*time.Minute; w.t < end; {
		if err := w.call(ctx, w.instances[w.rand.IntN(len(w.instances))]); err != nil {
			return err
		}
		w.t += pause
		if w.t-kept > idle/2 {
			kept = w.t
			for _, in := range w.instances {
				w.keep(ctx, in)
			}
		}
	}
	return w.check()
}

// TestABurstCostsFewOperations is a hundred calls at once on each of four
// instances, of a key that nobody has seen before.
func TestABurstCostsFewOperations(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{100, 300, 1000} {
		w, err := newWorld(1, 4, limit, faults{}, standardRules())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 400 {
			if err := w.call(t.Context(), w.instances[i%4]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.check(); err != nil {
			t.Error(err)
		}
		t.Logf("limit %d: %d of %d admitted, %d operations", limit, len(w.admitted), w.calls, w.ops)
		if len(w.admitted) < min(400, limit)*95/100 || w.ops > w.calls/10 {
			t.Errorf("limit %d: %d of %d admitted, %d operations", limit, len(w.admitted), w.calls, w.ops)
		}
	}
}

// TestMostOfTheLimitCanBeUsed is that being safe does not cost much, of the limit
// or of the store.
func TestMostOfTheLimitCanBeUsed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name                     string
		instances, limit, demand int
		// used is the least part of the demand, or of the limit, that is admitted,
		// and ops the most operations of the store for each call.
		used, ops float64
	}{
		{"one instance far over the limit", 1, 100, 1000, 0.95, 0.01},
		{"one instance at the limit", 1, 100, 100, 0.8, 0.1},
		{"one instance under the limit", 1, 100, 60, 1, 0.1},
		{"four instances far over the limit", 4, 100, 2000, 0.9, 0.05},
		{"four instances over the limit", 4, 100, 400, 0.9, 0.1},
		{"four instances at the limit", 4, 100, 100, 0.8, 0.5},
		{"four instances under the limit", 4, 100, 50, 0.98, 0.3},
		{"ten instances at half of the limit", 10, 100, 50, 0.95, 1.5},
		{"four instances far over a high limit", 4, 6000, 20000, 0.9, 0.01},
		{"four instances at a high limit", 4, 6000, 6000, 0.8, 0.02},
		{"four instances under a high limit", 4, 6000, 3000, 0.99, 0.01},
		{"ten instances far over a high limit", 10, 6000, 20000, 0.85, 0.02},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w, err := newWorld(1, tc.instances, tc.limit, faults{}, standardRules())
			if err != nil {
				t.Fatal(err)
			}
			const minutes = 10
			if err := w.demand(t.Context(), tc.demand, minutes); err != nil {
				t.Fatal(err)
			}
			may := float64(min(tc.limit, tc.demand) * minutes)
			used, ops := min(1, float64(len(w.admitted))/may), float64(w.ops)/float64(w.calls)
			t.Logf("%.1f %% used, %.3f operations a call, %.3f an admitted one", 100*used, ops, float64(w.ops)/float64(len(w.admitted)))
			if used < tc.used || ops > tc.ops {
				t.Errorf("%.3f of the limit, want %.2f; %.3f operations a call, want at most %.2f", used, tc.used, ops, tc.ops)
			}
		})
	}
}
