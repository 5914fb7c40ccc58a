package audit

import (
	"context"
	"sync"
	"time"
)

const (
	// tallyWindow is how long alike records are counted before they are told of.
	tallyWindow = time.Minute
	// tallyMost is how many kinds are told apart in a window; what is more is
	// counted together, without its address, key and target.
	tallyMost = 1024
)

// alike is what records have in common that are counted as one.
type alike struct {
	action                             Action
	outcome                            Outcome
	tenant, keyID, target, code, place string
}

// Tally tells of actions that anybody can cause as often as they like: the first
// of a kind at once, the others of the same minute together. A nil Tally tells of
// none.
type Tally struct {
	trail *Trail

	mu    sync.Mutex
	kinds map[alike]int // how many came after the first
}

// NewTally returns a tally that tells the trail.
func NewTally(t *Trail) *Tally { return &Tally{trail: t, kinds: make(map[alike]int)} }

// Count notes one action.
func (t *Tally) Count(ctx context.Context, r Record) {
	if t == nil {
		return
	}
	if t.first(&r) {
		t.trail.Tell(ctx, r)
	}
}

// first counts r and reports whether it is the first of its kind.
func (t *Tally) first(r *Record) bool {
	k := alike{r.Action, r.Outcome, r.Tenant, r.KeyID, r.Target, r.Code, r.Address}
	t.mu.Lock()
	defer t.mu.Unlock()
	n, known := t.kinds[k]
	if !known && len(t.kinds) >= tallyMost {
		k = alike{action: r.Action, outcome: r.Outcome} // a handful, so there is room
		n = t.kinds[k]
		known = true
	}
	if !known {
		t.kinds[k] = 0
		return true
	}
	t.kinds[k] = n + 1
	return false
}

// Run tells once a minute of what was counted, and at the end of ctx.
func (t *Tally) Run(ctx context.Context) error {
	every := time.NewTicker(tallyWindow)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			t.flush(ctx)
		case <-ctx.Done():
			t.flush(context.WithoutCancel(ctx))
			return nil
		}
	}
}

// flush tells of what was counted and forgets it.
func (t *Tally) flush(ctx context.Context) {
	t.mu.Lock()
	kinds := t.kinds
	t.kinds = make(map[alike]int)
	t.mu.Unlock()
	for k, n := range kinds {
		if n > 0 {
			t.trail.Tell(ctx, Record{
				Action: k.action, Outcome: k.outcome, Tenant: k.tenant, KeyID: k.keyID, Target: k.target,
				Code: k.code, Address: k.place, Count: n,
			})
		}
	}
}
