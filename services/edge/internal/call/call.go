package call

import (
	"context"
	"sync/atomic"

	"codexgateway.dev/pkg/ratelimit"
	"codexgateway.dev/services/edge/internal/auth"
)

// Info is one request, a batch counting as one.
type Info struct {
	Principal auth.Principal
	// Address is where it comes from, without a port; RequestID is its id.
	Address, RequestID string
	// BaseURL is the gateway as the client sees it, "https://host", without a
	// slash at the end.
	BaseURL string
	// IdempotencyKey is the header as it came; empty without it and on transports
	// without headers.
	IdempotencyKey []string
	// Quota is what the key had left after its last call, as the gate noted it: of
	// a batch, after its last member. The transport reads it once all are served.
	Quota ratelimit.State
	// Leave ends the call that the request is, once, before the request ends: a
	// stream has a bound of its own. nil: it is no call.
	Leave func()
	// Batch is true when the request holds several calls: the header cannot say
	// which of them it means.
	Batch bool

	replayed atomic.Bool
}

// MarkReplayed notes that the answer is one that was given before.
func (i *Info) MarkReplayed() { i.replayed.Store(true) }

// Replayed reports whether the answer is one that was given before.
func (i *Info) Replayed() bool { return i.replayed.Load() }

type key struct{}

// With returns a context that carries the request.
func With(ctx context.Context, i *Info) context.Context { return context.WithValue(ctx, key{}, i) }

// From returns the request of a context; an empty one, of no tenant, outside
// of a request.
func From(ctx context.Context) *Info {
	i, ok := ctx.Value(key{}).(*Info)
	if !ok {
		return &Info{}
	}
	return i
}
