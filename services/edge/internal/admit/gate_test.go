package admit_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/pkg/ratelimit"
	"codexgateway.dev/services/edge/internal/admit"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/call"
)

func TestOnlyAScopeOpensWhatNeedsIt(t *testing.T) {
	t.Parallel()
	mux := jsonrpc.NewMux()
	nothing := func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil }
	jsonrpc.Register(mux, "free", jsonrpc.MethodDoc{}, nothing)
	jsonrpc.Register(mux, "read", jsonrpc.MethodDoc{Scope: string(apikey.JobsRead)}, nothing)
	for _, tc := range []struct {
		name      string
		principal auth.Principal
		method    string
		want      errs.Code
	}{
		{"a key with the scope", auth.Principal{Scopes: []apikey.Scope{apikey.JobsWrite, apikey.JobsRead}}, "read", ""},
		{"the admin", auth.Principal{Admin: true}, "read", ""},
		{"a key without scopes", auth.Principal{}, "read", errs.PermissionDenied},
		{"a key with another scope", auth.Principal{Scopes: []apikey.Scope{apikey.JobsWrite}}, "read", errs.PermissionDenied},
		{"what needs none", auth.Principal{}, "free", ""},
		{"a method nobody knows", auth.Principal{}, "unknown", ""},
		{"no valid request", auth.Principal{}, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := admit.New(nil, admit.Options{}).Method(call.With(t.Context(), &call.Info{Principal: tc.principal}), mux, tc.method)
			if tc.want == "" && err != nil || tc.want != "" && errs.CodeOf(err) != tc.want {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func newGate(tb testing.TB, opt admit.Options) *admit.Gate {
	tb.Helper()
	all := docstore.Schema{ratelimit.Schema()}
	docs, err := docstore.New(memstore.New(all), all, docstore.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	limits, err := ratelimit.New(docs, time.Now, ratelimit.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return admit.New(limits, opt)
}

// one makes one call and ends it.
func one(t *testing.T, g *admit.Gate, p auth.Principal, need apikey.Scope) error {
	t.Helper()
	ctx := call.With(t.Context(), &call.Info{Principal: p})
	defer g.Leave(ctx)
	return g.Call(ctx, need)
}

func violated(err error) []string {
	v, _ := errs.From(err).Data["violated_policies"].([]string)
	return v
}

// A call that its key may not make counts like any other: to probe for scopes is
// not free.
func TestEveryCallCounts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		p    auth.Principal
		want int // admitted of 40
	}{
		{"a key", auth.Principal{KeyID: "a"}, 10},
		{"a key of another tenant with the same id", auth.Principal{Tenant: "b", KeyID: "a"}, 10},
		{"a key with a limit of its own", auth.Principal{KeyID: "c", RateLimit: 15}, 15},
		{"the admin", auth.Principal{KeyID: "admin", Admin: true}, 30},
		{"the admin with a limit of its own", auth.Principal{KeyID: "other", Admin: true, RateLimit: 5}, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, admit.Options{Rate: 10, AdminRate: 30})
			admitted := 0
			for i := range 40 {
				need := apikey.Scope("")
				if i%2 == 0 {
					need = apikey.JobsRead
				}
				switch err := one(t, g, tc.p, need); errs.CodeOf(err) {
				case errs.RateLimited:
					if !slices.Equal(violated(err), []string{admit.PolicyRate}) {
						t.Errorf("violated %v", violated(err))
					}
				default:
					admitted++
					if refused := errs.CodeOf(err) == errs.PermissionDenied; refused != (need != "" && !tc.p.Admin) && err != nil {
						t.Error(err)
					}
				}
			}
			if admitted != tc.want {
				t.Errorf("%d admitted, want %d", admitted, tc.want)
			}
		})
	}
}

func TestAKeyHasABoundedNumberOfCallsInHand(t *testing.T) {
	t.Parallel()
	g := newGate(t, admit.Options{Calls: 2})
	enter := func(p auth.Principal) (leave func(), err error) {
		ctx := call.With(t.Context(), &call.Info{Principal: p})
		return func() { g.Leave(ctx) }, g.Call(ctx, "")
	}
	key, other, admin := auth.Principal{KeyID: "a"}, auth.Principal{KeyID: "b"}, auth.Principal{KeyID: "c", Admin: true}
	first, err := enter(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := enter(key); err != nil {
		t.Fatal(err)
	}
	third, err := enter(key)
	if errs.CodeOf(err) != errs.RateLimited || !slices.Equal(violated(err), []string{admit.PolicyCalls}) {
		t.Errorf("the third: %v", err)
	}
	third()
	for range 5 {
		if _, err := enter(admin); err != nil {
			t.Errorf("the admin: %v", err)
		}
	}
	if _, err := enter(other); err != nil {
		t.Errorf("another key: %v", err)
	}
	first()
	if _, err := enter(key); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}

func TestHeadersSayWhatIsLeft(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name         string
		opt          admit.Options
		info         *call.Info
		settle       *errs.Error
		policy, left string
	}{
		{
			"a key",
			admit.Options{Rate: 100, Calls: 20, Streams: 10},
			&call.Info{Quota: ratelimit.State{Limit: 100, Left: 42, Reset: time.Minute}}, nil,
			`"requests";q=100;w=60, "concurrent-requests";q=20;qu="concurrent-requests", "streams";q=10;qu="concurrent-requests"`,
			`"requests";r=42;t=60`,
		},
		{
			"the admin",
			admit.Options{Calls: 20, Streams: 10},
			&call.Info{Principal: auth.Principal{Admin: true}, Quota: ratelimit.State{Limit: 600, Reset: 1001 * time.Millisecond}}, nil,
			`"requests";q=600;w=60`, `"requests";r=0;t=2`,
		},
		{"no limits", admit.Options{}, &call.Info{}, nil, "", ""},
		{
			"refused for another reason",
			admit.Options{},
			&call.Info{Quota: ratelimit.State{Limit: 100, Left: 42, Reset: time.Minute}}, errs.New(errs.Overloaded, ""),
			`"requests";q=100;w=60`, `"requests";r=42`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			admit.New(nil, tc.opt).Tell(h, tc.info)
			if tc.settle != nil {
				admit.Settle(h, tc.settle)
			}
			if p, l := h.Get("RateLimit-Policy"), h.Get("RateLimit"); p != tc.policy || l != tc.left {
				t.Errorf("%s\n%s", p, l)
			}
		})
	}
}

// BenchmarkAdmit is what every call pays.
func BenchmarkAdmit(b *testing.B) {
	g := newGate(b, admit.Options{Rate: 1_000_000_000, Calls: 100, Streams: 100})
	mux := jsonrpc.NewMux()
	jsonrpc.Register(mux, "read", jsonrpc.MethodDoc{Scope: string(apikey.JobsRead)}, func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
	info := &call.Info{Principal: auth.Principal{Tenant: "t", KeyID: "k", Scopes: apikey.DefaultScopes()}}
	ctx, h := call.With(b.Context(), info), http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Method(ctx, mux, "read"); err != nil {
			b.Fatal(err)
		}
		g.Tell(h, info)
		g.Leave(ctx)
	}
}
