package keyring

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/edge/internal/ondemand"
	"codexgateway.dev/services/edge/internal/streams"
)

const (
	// controlOutstanding is how many events of keys are handled at once.
	controlOutstanding = 16
	// maxChecks is how many keys of open streams are read at once, and maxRound
	// how many in one round: those that were not, in the next.
	maxChecks, maxRound = 8, 500
)

// Run hears of keys, looks at those of open streams at intervals and notes uses,
// until ctx ends; then it notes what is left and waits for reads under way. An
// error means that the subscription can never be opened.
func (r *Ring) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var loops sync.WaitGroup
	loops.Go(func() { r.checkLoop(ctx) })
	loops.Go(func() { r.useLoop(ctx) })
	err := r.control.Run(ctx, r.handle)
	cancel()
	loops.Wait()
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	r.end(errStopped)
	r.work.Wait()
	if err != nil {
		return fmt.Errorf("keyring: %w", err)
	}
	return nil
}

// listening is the subscription to what happens to keys, open while any are in
// use here.
func (r *Ring) listening(b bus.Receiver) *ondemand.Subscription {
	return ondemand.New(ondemand.Options{
		Bus: b, Name: events.SubKeyControlEdge, MaxOutstanding: controlOutstanding, IdleAfter: idleAfter, Logger: r.log,
		Demand: func() (int, int64) { return r.known.Len() + len(r.streamKeys()), r.loads.Load() },
		Opened: func(ctx context.Context) {
			// What was published while nobody listened is in the documents only.
			r.forgetAll()
			r.turn(true)
			r.check(ctx, r.streamKeys())
		},
		Lost: func() { r.turn(false) },
	})
}

func (r *Ring) forgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch.Add(1)
	r.known.Purge()
}

// turn notes whether events are heard.
func (r *Ring) turn(live bool) {
	r.live.Store(live)
	select {
	case r.turned <- struct{}{}:
	default:
	}
}

// handle takes one event of a key.
func (r *Ring) handle(ctx context.Context, d *bus.Delivery) bus.Outcome {
	done := bus.Outcome{Verdict: bus.Ack}
	payload, err := events.Decode(&d.Event)
	if err != nil {
		r.log.WarnContext(ctx, "event of a key cannot be read, its streams are looked at by and by", slog.String("event_id", d.Event.ID()))
		return done
	}
	switch p := payload.(type) {
	case *events.KeyRevoked:
		r.Revoked(p.KeyID)
	case *events.KeyRotated:
		r.drop(p.KeyID)
		r.check(ctx, []string{p.KeyID})
	}
	return done
}

// Revoked forgets a key that is no longer good and ends its streams.
func (r *Ring) Revoked(keyID string) {
	r.drop(keyID)
	r.streams.End(keyID, apikey.ErrRevoked)
}

// Rotated forgets a key that has a new secret and gives the streams of the old
// one their end.
func (r *Ring) Rotated(k *apikey.Record) {
	r.drop(k.ID)
	r.settle(k)
}

// settle ends the streams of a key that are no longer good, now or in time.
func (r *Ring) settle(k *apikey.Record) {
	now := r.now()
	r.streams.Settle(k.ID, func(c streams.Credential) (time.Time, error) {
		until, err := k.Good(c.Secret, now)
		if err == nil && c.Secret == 0 && !c.Expires.IsZero() && (until.IsZero() || c.Expires.Before(until)) {
			until = c.Expires // what was shown has an end of its own
		}
		return until, err
	})
}

// streamKeys are the keys that streams are open of, other credentials aside.
func (r *Ring) streamKeys() []string {
	return slices.DeleteFunc(r.streams.Keys(), func(id string) bool { return !apikey.IsID(id) })
}

// checkLoop looks at intervals whether the keys of open streams are still good,
// and forgets keys that are not in use: so an event that was lost is made good.
func (r *Ring) checkLoop(ctx context.Context) {
	timer := time.NewTimer(r.keep())
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-r.turned:
			timer.Reset(r.keep())
			continue
		case <-ctx.Done():
			return
		}
		r.forgetOld()
		r.check(ctx, r.round())
		timer.Reset(r.keep())
	}
}

// forgetOld drops keys that would be read again anyway.
func (r *Ring) forgetOld() {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range r.known.Keys() {
		e, ok := r.known.Peek(name)
		if ok && !slices.ContainsFunc(e.shown, func(s shown) bool { return now.Sub(s.at) < keep }) {
			r.known.Remove(name)
		}
	}
}

// round is the keys of open streams that a round looks at, the longest not
// looked at first.
func (r *Ring) round() []string {
	ids := r.streamKeys()
	r.mu.Lock()
	defer r.mu.Unlock()
	open := make(map[string]time.Time, len(ids))
	for _, id := range ids {
		open[id] = r.checked[id]
	}
	r.checked = open
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(open[a].Compare(open[b]), cmp.Compare(a, b)) })
	return ids[:min(len(ids), maxRound)]
}

// check reads keys and ends the streams of those that are no longer good, a few
// at a time. A key that cannot be read is left for the next round.
func (r *Ring) check(ctx context.Context, ids []string) {
	var running errgroup.Group
	running.SetLimit(maxChecks)
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		running.Go(func() error {
			r.checkOne(ctx, id)
			return nil
		})
	}
	_ = running.Wait() // none fails
}

func (r *Ring) checkOne(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	k, err := r.keys.Get(ctx, id)
	switch {
	case err == nil:
		if k.Status(r.now()) == apikey.Revoked {
			r.drop(id)
		}
		r.settle(k)
	case errs.CodeOf(err) == errs.NotFound:
		r.Revoked(id)
	default:
		r.log.DebugContext(ctx, "key of a stream not read", slog.String("key_id", id), slog.Any("error", err))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, open := r.checked[id]; open {
		r.checked[id] = r.now()
	}
}
