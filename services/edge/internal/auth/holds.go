package auth

import (
	"context"
	"errors"
	"strings"
	"time"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
)

// IssuedPrefix begins the key id of a principal that an issuer vouches for: there
// is no stored key of it.
const IssuedPrefix = "oidc_"

// Keys reads keys, from the store and not from what an instance remembers.
type Keys interface {
	Get(ctx context.Context, keyID string) (*apikey.Record, error)
}

// KeyHolds tells for [NewTickets] what a credential is still good for, by its
// key: a ticket of a key that was revoked, has expired or lost a scope is worth
// no more than the key. It reads the store once, and a ticket is shown once.
func KeyHolds(keys Keys, now func() time.Time) func(context.Context, Principal) (Principal, error) {
	return func(ctx context.Context, p Principal) (Principal, error) {
		if p.KeyID == AdminKeyID || strings.HasPrefix(p.KeyID, IssuedPrefix) {
			return p, nil // it ends when it expires, if at all
		}
		r, err := keys.Get(ctx, p.KeyID)
		switch {
		case errors.Is(err, docstore.ErrUnavailable):
			return Principal{}, away(err)
		case err != nil && errs.CodeOf(err) == errs.NotFound:
			return Principal{}, errs.New(errs.Unauthenticated, "The ticket's key is gone.")
		case err != nil:
			return Principal{}, err
		case r.Tenant != p.Tenant:
			return Principal{}, errs.New(errs.Unauthenticated, "The ticket's key is gone.")
		}
		if p.Expires, err = r.Good(p.Secret, now()); err != nil {
			return Principal{}, err
		}
		p.Scopes, p.RateLimit = r.Scopes, r.RateLimit
		return p, nil
	}
}
