package auth_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/edge/internal/auth"
)

type keysFunc func(keyID string) (*apikey.Record, error)

func (f keysFunc) Get(_ context.Context, keyID string) (*apikey.Record, error) { return f(keyID) }

func TestATicketIsWorthNoMoreThanItsKeyIsNow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	record := func(change func(*apikey.Record)) *apikey.Record {
		r := &apikey.Record{
			ID: "key_a", Tenant: "acme", Scopes: []apikey.Scope{apikey.JobsRead}, RateLimit: 7,
			Secret: apikey.Secret{Number: 2}, Previous: []apikey.Secret{{Number: 1, Until: now.Add(time.Minute)}},
		}
		change(r)
		return r
	}
	for _, tc := range []struct {
		name   string
		keyID  string
		secret int
		record *apikey.Record
		err    error
		code   errs.Code
	}{
		{"a good key", "key_a", 2, record(func(*apikey.Record) {}), nil, ""},
		{"a secret that was replaced and is still good", "key_a", 1, record(func(*apikey.Record) {}), nil, ""},
		{"a secret that was replaced", "key_a", 1, record(func(r *apikey.Record) { r.Previous = nil }), nil, errs.Unauthenticated},
		{"revoked", "key_a", 2, record(func(r *apikey.Record) { r.RevokedAt = now }), nil, errs.Unauthenticated},
		{"expired", "key_a", 2, record(func(r *apikey.Record) { r.ExpiresAt = now }), nil, errs.Unauthenticated},
		{"of another tenant", "key_a", 2, record(func(r *apikey.Record) { r.Tenant = "other" }), nil, errs.Unauthenticated},
		{"gone", "key_a", 2, nil, errs.New(errs.NotFound, ""), errs.Unauthenticated},
		{"a store that is away", "key_a", 2, nil, fmt.Errorf("get: %w", docstore.ErrUnavailable), errs.Overloaded},
		{"the admin key", auth.AdminKeyID, 0, nil, errs.New(errs.NotFound, ""), ""},
		{"an issuer's identity", "oidc_0123", 0, nil, errs.New(errs.NotFound, ""), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			holds := auth.KeyHolds(keysFunc(func(string) (*apikey.Record, error) { return tc.record, tc.err }), func() time.Time { return now })
			p, err := holds(t.Context(), auth.Principal{Tenant: "acme", KeyID: tc.keyID, Secret: tc.secret, Scopes: apikey.DefaultScopes()})
			if tc.code != "" {
				if err == nil || errs.CodeOf(err) != tc.code {
					t.Errorf("%v, want %s", err, tc.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tc.record != nil && (p.RateLimit != 7 || p.May(apikey.JobsWrite) || !p.May(apikey.JobsRead)) {
				t.Errorf("%+v", p)
			}
		})
	}
}
