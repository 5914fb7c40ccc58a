package keyring

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/docstore"
)

const (
	// maxUses is how many uses wait to be noted; more are dropped, and offered
	// again when the key is read the next time.
	maxUses = 10_000
	// noteEvery is how often those that wait are noted.
	noteEvery = 5 * time.Second
	// noteLimit bounds the last notes of an instance that goes away.
	noteLimit = time.Second
)

// uses is when keys were used that the store does not know yet. A key in use is
// read twice a minute, and only then looked at here: no request waits for it,
// and none costs a write.
type uses struct {
	mu   sync.Mutex
	wait map[string]time.Time
}

func newUses() uses { return uses{wait: make(map[string]time.Time)} }

// add notes a use, unless the store has one that is near enough.
func (u *uses) add(k *apikey.Record, at time.Time) {
	if at.Sub(k.LastUsedAt) < apikey.UseEvery {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, waits := u.wait[k.ID]; !waits && len(u.wait) < maxUses {
		u.wait[k.ID] = at
	}
}

// take returns what waits and waits for nothing.
func (u *uses) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := u.wait
	u.wait = make(map[string]time.Time)
	return all
}

// useLoop notes uses until ctx ends, and then what is left.
func (r *Ring) useLoop(ctx context.Context) {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.note(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteLimit)
			defer cancel()
			r.note(last)
			return
		}
	}
}

// note stores what waits, one after another. What is lost is noted by the next
// use.
func (r *Ring) note(ctx context.Context) {
	for id, at := range r.uses.take() {
		if ctx.Err() != nil {
			return
		}
		if err := r.keys.Used(ctx, id, at); err != nil && !errors.Is(err, docstore.ErrConflict) {
			r.log.DebugContext(ctx, "use of a key not noted", slog.String("key_id", id), slog.Any("error", err))
		}
	}
}
