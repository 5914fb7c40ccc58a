package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/wait"
)

// errExchange is the cause of an exchange that took too long.
var errExchange = errors.New("ratelimit: the exchange with the store took too long")

// exchange writes down what was used of the tokens in hand, gives the others back
// and takes up to want new ones; with 0 it only gives back. ctx is not that of a
// caller who may leave: others wait for it too. mu is held before and after, not
// meanwhile.
func (l *Limiter) exchange(ctx context.Context, a *account, want int) {
	a.flight = make(chan struct{})
	a.hand.left = 0 // what is in hand ends here
	limit := a.limit
	a.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, exchangeTime, errExchange)
	defer cancel()
	got, err := l.trade(ctx, a, limit, want)
	now := l.now()
	a.mu.Lock()
	switch {
	case err != nil:
		a.stale, a.free = true, 0
		a.until, a.why = now.Add(storePause), errs.Overloaded
		l.log.LogAttrs(ctx, slog.LevelWarn, "rate limit cannot be leased, calls of the key are refused",
			slog.String("key_id", a.key.ID), slog.Any("error", err))
	case got == 0 && want > 0:
		claims := a.view.claims(now, l.rules)
		a.free = 0
		a.until, a.why = freeAt(claims, limit, max(1, limit/duePart), now), errs.RateLimited
		if least := now.Add(leastPause); a.until.Before(least) {
			a.until = least
		}
	default:
		a.free = max(0, limit-count(a.view.claims(now, l.rules)))
	}
	close(a.flight)
	a.flight = nil
}

// trade makes one exchange with the ledger and returns how many tokens it
// brought, which are then in hand.
func (l *Limiter) trade(ctx context.Context, a *account, limit, want int) (got int, err error) {
	if a.view == nil || a.stale {
		if err := l.load(ctx, a); err != nil {
			return 0, err
		}
	}
	for n := 1; ; n++ {
		got, err = l.write(ctx, a, limit, want)
		if err == nil || !errors.Is(err, docstore.ErrConflict) || n == attempts {
			return got, err
		}
		a.stale = true
		if !wait.For(ctx, l.backoff(n)) {
			return 0, context.Cause(ctx)
		}
		if err := l.load(ctx, a); err != nil {
			return 0, err
		}
	}
}

// load reads the ledger.
func (l *Limiter) load(ctx context.Context, a *account) error {
	doc, err := l.docs.Get(ctx, a.key.docKey())
	if errors.Is(err, docstore.ErrNotFound) {
		a.view, a.version = &ledger{Epoch: id.New(id.Instance)}, 0
		return nil
	}
	if err != nil {
		return fmt.Errorf("ratelimit: get: %w", err)
	}
	if a.stale && doc.Version == a.version {
		a.stale = false // nobody else writes it any more
		return nil
	}
	view, err := read(doc.Data, l.now(), a.view, l.rules)
	if err != nil {
		return err
	}
	a.view, a.version = view, doc.Version
	return nil
}

// write makes one compare-and-set of the ledger as it is known. Nothing is
// written when there is nothing to say.
func (l *Limiter) write(ctx context.Context, a *account, limit, want int) (got int, err error) {
	now := l.now()
	next, added, settled := a.view.next(now, a.by, &a.hand, l.rules)
	next.Groups = append(next.Groups, added)
	mine := &next.Groups[len(next.Groups)-1]
	if want > 0 {
		got = share(limit-count(next.claims(now, l.rules)), limit, want, !a.stale)
	}
	if got == 0 && !settled {
		a.hand = holding{}
		return 0, nil
	}
	if got > 0 {
		mine.Held, mine.By = got, a.by
	} else if len(mine.Used) == 0 {
		next.Groups = next.Groups[:len(next.Groups)-1]
	}
	w := docstore.Write{
		Op: docstore.Replace, Key: a.key.docKey(), Version: a.version,
		Fields: docstore.Fields{"expires_at": now.Add(keep).UnixMicro()},
	}
	if a.version == 0 {
		w.Op = docstore.Create
	}
	if w.Data, err = next.encode(now); err != nil {
		return 0, err
	}
	versions, err := l.docs.Commit(ctx, []docstore.Write{w})
	if err != nil {
		return 0, fmt.Errorf("ratelimit: commit: %w", err)
	}
	a.view, a.version = next, versions[0]
	a.hand = holding{epoch: next.Epoch, rev: next.Rev, n: got, left: got, asked: now}
	return got, nil
}

// share is how many of the free tokens to take: what is wanted, but where they
// are few no more than half of them, so that other instances get some too.
func share(free, limit, want int, alone bool) int {
	if free <= 0 {
		return 0
	}
	if alone {
		return min(free, want)
	}
	return min(free, want, max((free+1)/2, limit/leastPart, 1))
}

// give returns what an account has in hand when it is over or not used; all of it
// if all is true.
func (l *Limiter) give(ctx context.Context, a *account, all bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight != nil || a.hand.left == 0 {
		return
	}
	if now := l.now(); all || now.Sub(a.used) >= idle || !a.hand.good(now, l.rules.lease) {
		a.demand(now, l.rules.lease) // which notes that they were too many
		l.exchange(ctx, a, 0)
	}
}

// Run gives back what is not used until ctx ends, and then all that is in hand,
// so that an instance that goes away takes nothing with it. It returns within
// farewell of ctx's end, also when the store stands still.
func (l *Limiter) Run(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(farewell, func() { cancel(errExchange) })
	})()
	tick := time.NewTicker(idle / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, a := range l.accounts.Values() {
				l.give(work, a, false)
			}
		case <-ctx.Done():
			for _, a := range l.accounts.Values() {
				if work.Err() != nil {
					break // what is left counts as used
				}
				l.give(work, a, true)
			}
			return nil
		}
	}
}
