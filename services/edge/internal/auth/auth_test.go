package auth_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/edge/internal/auth"
)

func TestAdminKey(t *testing.T) {
	t.Parallel()
	const key = "cgw_test_0123456789abcdef"
	method, err := auth.NewAdminKey(secret.NewValue(key))
	if err != nil {
		t.Fatal(err)
	}
	a := auth.Chain{method}
	admin := auth.Principal{Tenant: "default", KeyID: "admin", Admin: true}
	for _, tc := range []struct {
		name string
		url  string
		h    http.Header
		ok   bool
	}{
		{"api key header", "/", http.Header{"X-Api-Key": {key}}, true},
		{"bearer", "/", http.Header{"Authorization": {"Bearer " + key}}, true},
		{"bearer in lower case", "/", http.Header{"Authorization": {"bearer " + key}}, true},
		{"same key twice", "/", http.Header{"X-Api-Key": {key}, "Authorization": {"Bearer " + key}}, true},
		{"none", "/", http.Header{}, false},
		{"empty", "/", http.Header{"X-Api-Key": {""}}, false},
		{"wrong", "/", http.Header{"X-Api-Key": {key + "x"}}, false},
		{"prefix", "/", http.Header{"X-Api-Key": {key[:len(key)-1]}}, false},
		{"two keys", "/", http.Header{"X-Api-Key": {key, "other"}}, false},
		{"right and wrong", "/", http.Header{"X-Api-Key": {key}, "Authorization": {"Bearer other"}}, false},
		{"basic", "/", http.Header{"Authorization": {"Basic " + key}}, false},
		{"no scheme", "/", http.Header{"Authorization": {key}}, false},
		{"in the URL", "/?api_key=" + key + "&access_token=" + key, http.Header{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tc.url, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = tc.h
			p, err := a.Authenticate(t.Context(), r)
			if !tc.ok {
				if errs.CodeOf(err) != errs.Unauthenticated {
					t.Errorf("%v, want unauthenticated", err)
				}
				if strings.Contains(err.Error(), key) {
					t.Error("the error shows the key")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(admin, p); diff != "" {
				t.Errorf("principal (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEmptyAdminKeyIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := auth.NewAdminKey(secret.Value{}); err == nil {
		t.Error("an empty key was taken")
	}
}

// recording is a Method that answers as it is told and counts.
type recording struct {
	answer auth.Principal
	err    error
	asked  int
}

func (r *recording) Identify(context.Context, auth.Credential) (auth.Principal, error) {
	r.asked++
	return r.answer, r.err
}

func TestAChainAsksUntilOneKnows(t *testing.T) {
	t.Parallel()
	broken := errors.New("the store is away")
	other := recording{err: auth.ErrNotMine}
	knows := recording{answer: auth.Principal{Tenant: "acme"}}
	for _, tc := range []struct {
		name  string
		chain []recording
		want  string
		code  errs.Code
		asked []int
	}{
		{"the second knows", []recording{other, knows, knows}, "acme", "", []int{1, 1, 0}},
		{"nobody knows", []recording{other, other}, "", errs.Unauthenticated, []int{1, 1}},
		{"the first refuses", []recording{{err: auth.Invalid()}, knows}, "", errs.Unauthenticated, []int{1, 0}},
		{"the first cannot tell", []recording{{err: broken}, knows}, "", errs.Internal, []int{1, 0}},
		{"there is no method", nil, "", errs.Unauthenticated, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var chain auth.Chain
			for i := range tc.chain {
				chain = append(chain, &tc.chain[i])
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-API-Key", "key")
			p, err := chain.Authenticate(t.Context(), r)
			if p.Tenant != tc.want || tc.code == "" && err != nil || tc.code != "" && errs.CodeOf(err) != tc.code {
				t.Errorf("%q, %v", p.Tenant, err)
			}
			for i := range tc.chain {
				if tc.chain[i].asked != tc.asked[i] {
					t.Errorf("method %d was asked %d times, want %d", i, tc.chain[i].asked, tc.asked[i])
				}
			}
		})
	}
}
