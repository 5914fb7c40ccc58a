package admit

import (
	"context"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/call"
)

// Gate admits calls.
type Gate struct{}

// New returns a gate.
func New() *Gate { return &Gate{} }

// Method admits one JSON-RPC call to a method of mux. The name is empty for
// what is no valid request and may be one that nobody knows: both need no scope
// and are refused by who serves them.
func (g *Gate) Method(ctx context.Context, mux *jsonrpc.Mux, name string) error {
	method, _ := mux.Lookup(name)
	return g.Call(ctx, apikey.Scope(method.Doc.Scope))
}

// Call admits one call that needs a scope; empty: any valid key.
func (*Gate) Call(ctx context.Context, need apikey.Scope) error {
	p := &call.From(ctx).Principal
	if !p.May(need) {
		return errs.New(errs.PermissionDenied, "").With("scope", need)
	}
	return nil
}
