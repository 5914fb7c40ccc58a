package admit_test

import (
	"context"
	"testing"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
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
			err := admit.New().Method(call.With(t.Context(), &call.Info{Principal: tc.principal}), mux, tc.method)
			if tc.want == "" && err != nil || tc.want != "" && errs.CodeOf(err) != tc.want {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}
