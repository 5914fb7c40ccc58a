package auth_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/ticket"
	"codexgateway.dev/services/edge/internal/auth"
)

// TestATicketNeverSaysMoreThanItsKey: neither than the key did when the ticket
// was made, nor than it does now.
func TestATicketNeverSaysMoreThanItsKey(t *testing.T) {
	t.Parallel()
	read, both := []apikey.Scope{apikey.JobsRead}, []apikey.Scope{apikey.JobsRead, apikey.JobsWrite}
	key := auth.Principal{Tenant: "acme", KeyID: "key_a", Secret: 1, Scopes: both, RateLimit: 5}
	admin := auth.Principal{Tenant: "default", KeyID: "admin", Admin: true}
	less := key
	less.Scopes = read
	revoked := errs.New(errs.Unauthenticated, "The key was revoked.")
	for _, tc := range []struct {
		name    string
		key     auth.Principal
		scopes  []apikey.Scope
		now     *auth.Principal // what the key is when the ticket is used; nil: revoked
		want    auth.Principal
		refused bool // no ticket is made
	}{
		{"all that its key may", key, nil, &key, key, false},
		{"less", key, read, &key, less, false},
		{"a key that may less now", key, both, &less, less, false},
		{"a key that was revoked", key, nil, nil, auth.Principal{}, false},
		{"more than its key", less, both, nil, auth.Principal{}, true},
		{"what there is not", key, []apikey.Scope{"jobs:*"}, nil, auth.Principal{}, true},
		{"the admin", admin, nil, &admin, admin, false},
		{"the admin, but less", admin, read, &admin, auth.Principal{Tenant: "default", KeyID: "admin", Scopes: read}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			schema := docstore.Schema{ticket.Schema()}
			docs, err := docstore.New(memstore.New(schema), schema, docstore.Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			tickets := auth.NewTickets(ticket.NewStore(docs, time.Now), func(_ context.Context, p auth.Principal) (auth.Principal, error) {
				if p.KeyID != tc.key.KeyID || p.Secret != tc.key.Secret {
					t.Errorf("asked about %+v", p)
				}
				if tc.now == nil {
					return auth.Principal{}, revoked
				}
				return *tc.now, nil
			})
			made, err := tickets.Issue(t.Context(), &tc.key, tc.scopes)
			if tc.refused {
				if errs.CodeOf(err) != errs.InvalidParams {
					t.Errorf("%v, want invalid params", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := tickets.Identify(t.Context(), auth.Credential{Scheme: auth.Ticket, Token: made.Value})
			if tc.now == nil {
				if !errors.Is(err, revoked) {
					t.Errorf("%v, want revoked", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Scopes) == 0 {
				got.Scopes = nil
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("principal (-want +got):\n%s", diff)
			}
			if _, err := tickets.Identify(t.Context(), auth.Credential{Scheme: auth.Bearer, Token: made.Value}); !errors.Is(err, auth.ErrNotMine) {
				t.Errorf("as a bearer: %v", err)
			}
		})
	}
}
