package admit

import (
	"context"
	"sync"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/pkg/ratelimit"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/call"
)

// Names of the policies, in RateLimit-Policy and in data.violated_policies.
const (
	PolicyRate    = "requests"
	PolicyCalls   = "concurrent-requests"
	PolicyStreams = "streams"
)

// busyRetry is when a key that has too much in hand may try again, in
// milliseconds: nobody knows when it ends.
const busyRetry int64 = 1000

// Options are the limits of a key; 0: there is none. The admin key has a rate of
// its own, and else only the bounds of the instance.
type Options struct {
	// Rate is how many calls a key may make in a minute if it does not say itself.
	Rate int
	// AdminRate is that of the admin key.
	AdminRate int
	// Calls is how many calls of a key an instance serves at once.
	Calls int
	// Streams is how many streams a key may have open on an instance.
	Streams int
}

// Gate admits calls.
type Gate struct {
	limits *ratelimit.Limiter
	opt    Options
	// What RateLimit-Policy says to keys without a limit of their own.
	keyPolicy, adminPolicy []string

	mu   sync.Mutex
	busy map[ratelimit.Key]int
}

// New returns a gate that counts with limits.
func New(limits *ratelimit.Limiter, opt Options) *Gate {
	return &Gate{
		limits: limits, opt: opt, keyPolicy: opt.policy(opt.Rate, false), adminPolicy: opt.policy(opt.AdminRate, true),
		busy: make(map[ratelimit.Key]int),
	}
}

// Method admits one JSON-RPC call to a method of mux; Leave must follow it, error
// or not. The name is empty for what is no valid request and may be one that nobody
// knows: both count, need no scope and are refused by who serves them.
func (g *Gate) Method(ctx context.Context, mux *jsonrpc.Mux, name string) error {
	method, _ := mux.Lookup(name)
	return g.Call(ctx, apikey.Scope(method.Doc.Scope))
}

// Call admits one call that needs a scope; empty: any valid key. Leave must follow
// it, error or not.
func (g *Gate) Call(ctx context.Context, need apikey.Scope) error {
	p := &call.From(ctx).Principal
	busy := g.enter(p)
	if err := g.Count(ctx); err != nil {
		return err
	}
	if g.opt.Calls > 0 && busy > g.opt.Calls {
		return Busy(PolicyCalls, "Too many calls of this key are being served.")
	}
	if !p.May(need) {
		return errs.New(errs.PermissionDenied, "").With("scope", need)
	}
	return nil
}

// Busy is the refusal of a key that has too much in hand.
func Busy(policy, public string) error {
	return errs.New(errs.RateLimited, public).With("retry_after_ms", busyRetry).With("violated_policies", []string{policy})
}

// Count counts a request that is no call, so that nonsense is not free. What the
// key has left is noted in the context's call.Info.
func (g *Gate) Count(ctx context.Context) error {
	info := call.From(ctx)
	state, err := g.limits.Take(ctx, keyOf(&info.Principal), g.rate(&info.Principal))
	info.Quota = state
	if err != nil && errs.CodeOf(err) == errs.RateLimited {
		return errs.From(err).With("violated_policies", []string{PolicyRate})
	}
	return err
}

// Leave ends the call that was last admitted.
func (g *Gate) Leave(ctx context.Context) {
	p := &call.From(ctx).Principal
	if p.Admin {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	key := keyOf(p)
	if g.busy[key]--; g.busy[key] <= 0 {
		delete(g.busy, key)
	}
}

// enter counts one more call in hand and returns how many there are; 0: it does
// not matter.
func (g *Gate) enter(p *auth.Principal) int {
	if p.Admin {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	key := keyOf(p)
	g.busy[key]++
	return g.busy[key]
}

// Streams is how many streams the principal may have open; 0: as many as the
// instance.
func (g *Gate) Streams(p *auth.Principal) int {
	if p.Admin {
		return 0
	}
	return g.opt.Streams
}

func keyOf(p *auth.Principal) ratelimit.Key { return ratelimit.Key{Tenant: p.Tenant, ID: p.KeyID} }

// rate is how many calls a minute the principal may make.
func (g *Gate) rate(p *auth.Principal) int {
	switch {
	case p.RateLimit > 0:
		return p.RateLimit
	case p.Admin:
		return g.opt.AdminRate
	default:
		return g.opt.Rate
	}
}
