package keyring

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/ondemand"
	"codexgateway.dev/services/edge/internal/streams"
)

// Bounds of a ring.
const (
	// maxKeys is how many keys are remembered, maxStrangers how many of those
	// that nobody knows.
	maxKeys, maxStrangers = 10_000, 4096
	// keep is how long a key is good without another look, deafKeep the same
	// while no events are heard.
	keep, deafKeep = 30 * time.Second, 5 * time.Second
	// keepStranger is how long a key that nobody knows is refused without a look.
	keepStranger = 10 * time.Second
	// maxReads is how many reads of keys run at once; the others wait.
	maxReads = 64
	// readTimeout bounds one read.
	readTimeout = 10 * time.Second
	// idleAfter is how long events are heard without a key in use.
	idleAfter = 10 * time.Minute
	// complainEvery spaces the log lines about a pepper that is missing.
	complainEvery = time.Minute
)

// errStopped is why reads end when the instance does.
var errStopped = errors.New("keyring: stopped")

// errBlind is the answer while keys cannot be checked.
func errBlind(cause error) error {
	return errs.Wrap(errs.Overloaded, "Keys cannot be checked at the moment.", cause)
}

// Keys is the part of the store of keys that a ring reads.
type Keys interface {
	Verify(ctx context.Context, parts apikey.Parts) (apikey.Verified, error)
	Get(ctx context.Context, keyID string) (*apikey.Record, error)
	Used(ctx context.Context, keyID string, at time.Time) error
}

var _ Keys = (*apikey.Store)(nil)

// Ring is the keys of one instance. One Run.
type Ring struct {
	keys    Keys
	streams *streams.Set
	log     *slog.Logger
	now     func() time.Time

	control *ondemand.Subscription
	// live is true while the events of keys are heard.
	live atomic.Bool
	// turned, of capacity 1, tells the check loop that it changed.
	turned chan struct{}

	flight singleflight.Group
	slots  chan struct{}
	// life is that of the reads: others may wait for the same answer.
	life context.Context //nolint:containedctx // a read outlives the request that began it
	end  context.CancelCauseFunc
	work sync.WaitGroup

	// known is by the name in the key, strangers by the sum of all of it.
	known     *lru.Cache[string, *entry]
	strangers *lru.Cache[sum, time.Time]
	// epoch counts what was dropped: a read that began before is made again.
	epoch atomic.Int64
	// loads counts keys that were read and found good.
	loads atomic.Int64

	mu         sync.Mutex // of changes to entries
	stopped    bool
	complained time.Time
	uses       uses
	checked    map[string]time.Time
}

var _ auth.Method = (*Ring)(nil)

// sum stands for a whole key, which is not kept in memory.
type sum [sha256.Size]byte

// entry is what is known of one key: its secrets that were shown. It is not
// changed once it is in the cache.
type entry struct{ shown []shown }

type shown struct {
	sum       sum
	at        time.Time
	principal auth.Principal
}

// New returns an empty ring.
func New(keys Keys, b bus.Receiver, open *streams.Set, log *slog.Logger, now func() time.Time) (*Ring, error) {
	r := &Ring{
		keys: keys, streams: open, log: log, now: now, turned: make(chan struct{}, 1), slots: make(chan struct{}, maxReads),
		uses: newUses(), checked: make(map[string]time.Time),
	}
	var err error
	if r.known, err = lru.New[string, *entry](maxKeys); err != nil {
		return nil, err
	}
	if r.strangers, err = lru.New[sum, time.Time](maxStrangers); err != nil {
		return nil, err
	}
	r.life, r.end = context.WithCancelCause(context.Background())
	r.control = r.listening(b)
	return r, nil
}

// Identify implements auth.Method.
func (r *Ring) Identify(ctx context.Context, c auth.Credential) (auth.Principal, error) {
	token := c.Token.Reveal()
	if c.Scheme != auth.Bearer || !strings.HasPrefix(token, apikey.Prefix) {
		return auth.Principal{}, auth.ErrNotMine
	}
	parts, ok := apikey.Parse(token)
	if !ok {
		return auth.Principal{}, auth.Invalid()
	}
	digest := sum(sha256.Sum256([]byte(token)))
	now := r.now()
	if p, ok := r.cached(parts.Name(), digest, now); ok {
		return p, expired(&p, now)
	}
	if at, ok := r.strangers.Get(digest); ok && now.Sub(at) < keepStranger {
		return auth.Principal{}, auth.Invalid()
	}
	select {
	case res := <-r.flight.DoChan(string(digest[:]), func() (any, error) { return r.load(parts, digest) }): //nolint:contextcheck // others may wait for the same answer: it lives in r.life
		p, _ := res.Val.(auth.Principal)
		return p, res.Err
	case <-ctx.Done():
		return auth.Principal{}, context.Cause(ctx)
	}
}

// cached finds a key that was shown not long ago.
func (r *Ring) cached(name string, digest sum, now time.Time) (auth.Principal, bool) {
	e, ok := r.known.Get(name)
	if !ok {
		return auth.Principal{}, false
	}
	for i := range e.shown {
		// What is compared are sums: their bytes, and so the time it takes, tell
		// nothing of a key.
		if e.shown[i].sum == digest {
			return e.shown[i].principal, now.Sub(e.shown[i].at) < r.keep()
		}
	}
	return auth.Principal{}, false
}

// keep is how long a key is good without another look.
func (r *Ring) keep() time.Duration {
	if r.live.Load() {
		return keep
	}
	return deafKeep
}

// expired refuses a key whose end has come since it was read.
func expired(p *auth.Principal, now time.Time) error {
	if !p.Expires.IsZero() && !now.Before(p.Expires) {
		return streams.ErrExpired
	}
	return nil
}

// load reads a key, again if keys were dropped meanwhile: what it read may be
// from before.
func (r *Ring) load(parts apikey.Parts, digest sum) (auth.Principal, error) {
	if !r.begin() {
		return auth.Principal{}, errBlind(errStopped)
	}
	defer r.work.Done()
	ctx, cancel := context.WithTimeout(r.life, readTimeout)
	defer cancel()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return auth.Principal{}, errBlind(context.Cause(ctx))
	}
	for {
		epoch, at := r.epoch.Load(), r.now()
		v, err := r.keys.Verify(ctx, parts)
		switch {
		case err == nil:
			p := principal(&v)
			if !r.remember(parts.Name(), shown{digest, at, p}, epoch) {
				continue
			}
			r.loads.Add(1)
			r.control.Want()
			r.uses.add(v.Record, at)
			return p, nil
		case errors.Is(err, apikey.ErrUnknown):
			r.strangers.Add(digest, at)
			return auth.Principal{}, auth.Invalid()
		case errs.CodeOf(err) == errs.Unauthenticated:
			return auth.Principal{}, err
		default:
			r.complain(err)
			return auth.Principal{}, errBlind(err)
		}
	}
}

// principal is who shows a key.
func principal(v *apikey.Verified) auth.Principal {
	return auth.Principal{
		Tenant: v.Record.Tenant, KeyID: v.Record.ID, Secret: v.Secret, Scopes: v.Record.Scopes,
		RateLimit: v.Record.RateLimit, Expires: v.Until,
	}
}

// maxShown is how many secrets of a key are remembered: as many as can be valid.
const maxShown = 5

// remember puts a key in the cache; false: keys were dropped since the epoch.
func (r *Ring) remember(name string, s shown, epoch int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch.Load() != epoch {
		return false
	}
	next := &entry{shown: []shown{s}}
	if e, ok := r.known.Peek(name); ok {
		for _, other := range e.shown {
			if other.sum != s.sum && len(next.shown) < maxShown {
				next.shown = append(next.shown, other)
			}
		}
	}
	r.known.Add(strings.Clone(name), next) // what it is a part of holds the secret
	return true
}

// drop forgets a key; what is being read of it is read again.
func (r *Ring) drop(keyID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch.Add(1)
	r.known.Remove(apikey.NameOf(keyID))
}

// complain logs why keys cannot be checked, not for every request.
func (r *Ring) complain(err error) {
	r.mu.Lock()
	now := r.now()
	soon := now.Sub(r.complained) < complainEvery
	if !soon {
		r.complained = now
	}
	r.mu.Unlock()
	switch {
	case soon:
	case errors.Is(err, apikey.ErrNoPepper):
		r.log.Error("keys of tenants cannot be checked: create the secret, such as with the output of openssl rand -hex 32",
			slog.String("secret", apikey.PepperSecret), slog.Any("error", err))
	case errors.Is(err, docstore.ErrUnavailable), errors.Is(err, secret.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		r.log.Warn("keys of tenants cannot be checked, what they are checked against is away or slow", slog.Any("error", err))
	default:
		r.log.Error("keys of tenants cannot be checked", slog.Any("error", err))
	}
}

// begin counts work that Run waits for; false: the ring has stopped.
func (r *Ring) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.work.Add(1)
	}
	return !r.stopped
}
