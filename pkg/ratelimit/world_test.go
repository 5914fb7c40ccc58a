package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/errs"
)

// world is some instances on one store, in a time of its own: nothing in it
// waits. It is the network, the clocks and the crashes at once.
type world struct {
	docstore.Driver

	rand *rand.Rand
	// t is the true time; no instance sees it.
	t         time.Duration
	faults    faults
	instances []*instance
	docs      *docstore.Store
	rules     rules
	// late are commits that are still on their way though their sender was told
	// that the answer is lost.
	late  [][]docstore.Write
	depth int

	limit    int
	admitted []time.Duration
	calls    int
	ops      int
}

// faults say how often something goes wrong, in per cent.
type faults struct {
	lost, late, away, meddle, slow int
	// unkept: nobody gives back what is not used.
	unkept bool
}

// instance is one limiter and its clock.
type instance struct {
	*Limiter

	// skew is how far the clock is off at the most, drift how much faster or slower
	// it runs, by turns a minute each: something keeps it right.
	skew  time.Duration
	drift float64
	// asleep: nobody calls it until then, and it does nothing.
	asleep time.Duration
}

// clock is what the instance takes for the time. It never goes back.
func (w *world) clock(in *instance) time.Time {
	phase := w.t % (2 * time.Minute)
	if phase > time.Minute {
		phase = 2*time.Minute - phase
	}
	off := in.skew - time.Duration(float64(phase)*in.drift)
	return base.Add(w.t + off)
}

var base = time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)

func newWorld(seed uint64, n, limit int, f faults, r rules) (*world, error) {
	w := &world{
		Driver: memstore.New(docstore.Schema{Schema()}), rand: rand.New(rand.NewPCG(seed, 1)),
		faults: f, rules: r, limit: limit,
	}
	var err error
	w.docs, err = docstore.New(w, docstore.Schema{Schema()}, docstore.Options{Backoff: func(int) time.Duration { return 0 }})
	if err != nil {
		return nil, err
	}
	for i := range n {
		// The clocks are as far apart as they may be, and drift apart.
		in := &instance{skew: MaxSkew, drift: 1. / driftPart}
		switch i % 4 {
		case 1:
			in.skew, in.drift = -MaxSkew, -in.drift
		case 2:
			in.skew = 0
		case 3:
			in.skew, in.drift = 0, 0
		}
		w.instances = append(w.instances, in)
		if err := w.start(in); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// start begins an instance, or begins it anew after a crash.
func (w *world) start(in *instance) error {
	l, err := New(w.docs, func() time.Time { return w.clock(in) }, Options{Backoff: func(int) time.Duration { return 0 }})
	if err != nil {
		return err
	}
	l.rules = w.rules
	in.Limiter = l
	return nil
}

var key = Key{Tenant: "t", ID: "k"}

// call makes one call on an instance.
func (w *world) call(ctx context.Context, in *instance) error {
	w.calls++
	_, err := in.Take(ctx, key, w.limit)
	if err == nil {
		w.admitted = append(w.admitted, w.t)
		return nil
	}
	if code := errs.CodeOf(err); code != errs.RateLimited && code != errs.Overloaded {
		return fmt.Errorf("a call is neither admitted nor refused: %w", err)
	}
	return nil
}

// keep is what Run does now and then.
func (w *world) keep(ctx context.Context, in *instance) {
	if w.faults.unkept {
		return
	}
	for _, a := range in.accounts.Values() {
		in.give(ctx, a, false)
	}
}

// check is the independent checker: it knows the true time of what was admitted,
// and nothing else.
func (w *world) check() error {
	slices.Sort(w.admitted)
	from := 0
	for i, t := range w.admitted {
		for t-w.admitted[from] > time.Minute {
			from++
		}
		if n := i - from + 1; n > w.limit {
			return fmt.Errorf("%d calls in the 60 s before %s, the limit is %d", n, t, w.limit)
		}
	}
	return nil
}

func (w *world) chance(percent int) bool { return percent > 0 && w.rand.IntN(100) < percent }

// travel is the way of a request or an answer; meanwhile others may act.
func (w *world) travel(ctx context.Context) {
	d := time.Millisecond + time.Duration(w.rand.Int64N(int64(5*time.Millisecond)))
	if w.chance(w.faults.slow) {
		d += time.Duration(w.rand.Int64N(int64(3 * time.Second)))
	}
	w.t += d
	if w.depth < len(w.instances)-1 && w.chance(w.faults.meddle) {
		w.depth++
		// One that is within an exchange has its account locked: only others act.
		for _, in := range w.instances {
			if a, ok := in.accounts.Peek(key); ok && a.flight != nil {
				continue
			}
			if w.call(ctx, in) != nil {
				break
			}
		}
		w.depth--
	}
}

var errLost = fmt.Errorf("%w: the answer is lost", docstore.ErrUnavailable)

func (w *world) Get(ctx context.Context, k docstore.Key) (docstore.Doc, error) {
	w.ops++
	w.travel(ctx)
	if w.chance(w.faults.away) {
		return docstore.Doc{}, errLost
	}
	w.arrive(ctx)
	doc, err := w.Driver.Get(ctx, k)
	w.travel(ctx)
	return doc, err
}

func (w *world) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	w.ops++
	w.travel(ctx)
	switch {
	case w.chance(w.faults.away):
		return nil, errLost
	case w.chance(w.faults.late):
		w.late = append(w.late, writes)
		w.travel(ctx)
		return nil, errLost
	}
	w.arrive(ctx)
	versions, err := w.Driver.Commit(ctx, writes)
	w.travel(ctx)
	if w.chance(w.faults.lost) {
		return nil, errLost
	}
	return versions, err
}

// arrive brings some of the late commits to the store.
func (w *world) arrive(ctx context.Context) {
	for len(w.late) > 0 && w.chance(50) {
		if _, err := w.Driver.Commit(ctx, w.late[0]); err != nil && !errors.Is(err, docstore.ErrConflict) {
			panic(err)
		}
		w.late = w.late[1:]
	}
}
