package ratelimit

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
)

const (
	// Window is what a limit is for.
	Window = time.Minute
	// MaxSkew is how far a clock may be from the time.
	MaxSkew = 30 * time.Second
	// driftPart: a clock may gain or lose one part in so many. What keeps clocks
	// right slews them by a tenth of that.
	driftPart = 200
	// lease is how long tokens may be used. A longer one costs fewer writes and
	// loses more when its holder crashes.
	lease = 60 * time.Second
	// idle is how long a lease may go unused before it is given back.
	idle = 15 * time.Second
)

// How tokens are leased, as parts of the limit.
const (
	firstPart = 10 // the first batch
	mostPart  = 4  // the largest batch
	leastPart = 10 // the smallest, where there are so many
	duePart   = 5  // a key over its limit is refused until so many are due
)

const (
	// exchangeTime bounds one exchange with the store.
	exchangeTime = 5 * time.Second
	// attempts bounds the compare-and-sets of one exchange.
	attempts = 8
	// leastPause is how long a key is at least refused from memory.
	leastPause = 250 * time.Millisecond
	// storePause is how long a key is refused after the store has failed.
	storePause = time.Second
	// farewell bounds what is given back at the end.
	farewell = time.Second
	// maxKeys is the bound of Options.Keys.
	maxKeys = 10_000
)

// Options tune a Limiter; the zero value is good.
type Options struct {
	// Keys is how many keys are remembered: 10,000. The one that was used least
	// recently is forgotten, which costs it the tokens in hand.
	Keys int
	// Backoff says how long to wait after conflict n (from 1) of an exchange; nil:
	// up to 4 ms, doubled each time.
	Backoff func(n int) time.Duration
	// Logger hears when the store fails; nil: nobody does.
	Logger *slog.Logger
}

// Limiter counts calls on one instance. It is safe for concurrent use; Run gives
// back what is not used.
type Limiter struct {
	docs     *docstore.Store
	now      func() time.Time
	log      *slog.Logger
	backoff  func(n int) time.Duration
	rules    rules
	accounts *lru.Cache[Key, *account]
}

// New returns a limiter over documents. now is the instance's clock.
func New(docs *docstore.Store, now func() time.Time, opt Options) (*Limiter, error) {
	if opt.Keys <= 0 {
		opt.Keys = maxKeys
	}
	accounts, err := lru.New[Key, *account](opt.Keys)
	if err != nil {
		return nil, err
	}
	l := &Limiter{docs: docs, now: now, log: opt.Logger, backoff: opt.Backoff, rules: standardRules(), accounts: accounts}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.backoff == nil {
		l.backoff = func(n int) time.Duration { return rand.N(4 * time.Millisecond << min(n, 6)) }
	}
	return l, nil
}

// State is what a key has left, as far as this instance knows.
type State struct {
	// Limit is the calls in a minute; 0: there is no limit, and nothing is counted.
	Limit int
	// Left is how many more calls would be admitted.
	Left int
	// Reset is the time that Left is for: until there are more, when there is
	// nothing left.
	Reset time.Duration
}

// account is what an instance knows of one key.
type account struct {
	key Key
	// by names the account in the ledger. It is not the instance's: one that is
	// forgotten and made anew must not give back what the old one still uses.
	by string

	mu    sync.Mutex
	limit int
	hand  holding
	used  time.Time // when a token was used last
	// free is what the ledger had left after the last exchange.
	free int
	// until is the end of a refusal, why is its reason.
	until time.Time
	why   errs.Code
	// batch is how many tokens were asked for last; 0: nothing is known yet. calls
	// came since then, which was at mark.
	batch, calls int
	mark         time.Time
	// flight is closed when the exchange under way is over; nil: there is none.
	// While there is one, nothing is in hand and the rest is its own.
	flight chan struct{}

	view    *ledger // as last read or written; nil: not known
	version docstore.Version
	// stale is true when others write the ledger too, or a write of this account
	// may have: it is read first.
	stale bool
}

// Take counts one call of a key with a limit of so many a minute; 0: no limit.
// Over the limit it is rate_limited; overloaded when the store cannot be asked
// and nothing is in hand. Either says in retry_after_ms when to come back.
func (l *Limiter) Take(ctx context.Context, key Key, limit int) (State, error) {
	if limit <= 0 {
		return State{}, nil
	}
	a := l.account(key)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	for {
		now := l.now()
		switch {
		case a.flight != nil:
			if err := a.await(ctx); err != nil {
				return State{}, err
			}
		case a.limit != limit: // what is known and in hand is of another one
			a.limit, a.until, a.batch, a.hand.left = limit, time.Time{}, 0, 0
		case a.hand.left > 0 && a.hand.good(now, l.rules.lease):
			a.hand.use(now)
			a.used = now
			return a.state(now, l.rules), nil
		case now.Before(a.until):
			return a.refusal(now)
		default:
			l.exchange(context.WithoutCancel(ctx), a, a.demand(now, l.rules.lease))
		}
	}
}

// account finds or makes what is known of a key.
func (l *Limiter) account(key Key) *account {
	if a, ok := l.accounts.Get(key); ok {
		return a
	}
	a := &account{key: key, by: id.New(id.Instance)}
	if earlier, ok, _ := l.accounts.PeekOrAdd(key, a); ok {
		return earlier
	}
	return a
}

// await waits for the exchange under way. mu is held before and after.
func (a *account) await(ctx context.Context) error {
	flight := a.flight
	a.mu.Unlock()
	defer a.mu.Lock()
	select {
	case <-flight:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// demand is how many tokens to ask for: what the calls since the last exchange
// would need in a lease if they went on like that, refused ones included. It at
// most doubles or halves, because a few calls say little.
func (a *account) demand(now time.Time, lease time.Duration) int {
	most := max(1, a.limit/mostPart)
	if a.batch == 0 {
		a.batch = max(1, a.limit/firstPart)
	} else {
		need := float64(a.calls) * float64(lease) / float64(max(now.Sub(a.mark), time.Millisecond))
		a.batch = max(a.batch/2, min(int(min(need, float64(most)))+1, 2*a.batch), 1)
	}
	a.batch = min(a.batch, most)
	a.calls, a.mark = 0, now
	return a.batch
}

// state is what an admitted call is told.
func (a *account) state(now time.Time, r rules) State {
	s := State{Limit: a.limit, Left: a.hand.left + a.free, Reset: Window}
	if s.Left == 0 {
		next, used, _ := a.view.next(now, a.by, &a.hand, r)
		next.Groups = append(next.Groups, used)
		s.Reset = freeAt(next.claims(now, r), a.limit, 1, now).Sub(now)
	}
	return s
}

// refusal is what a call over the limit is told.
func (a *account) refusal(now time.Time) (State, error) {
	wait := a.until.Sub(now)
	s := State{Limit: a.limit, Reset: wait}
	after := wait.Milliseconds() + 1 // never too early
	return s, errs.New(a.why, "").With("retry_after_ms", after)
}
