package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/secret"
)

// DefaultTenant owns everything that is made with the admin key.
const DefaultTenant = "default"

// Challenge is the WWW-Authenticate of every 401.
const Challenge = `Bearer realm="codexgateway"`

// Headers that carry a key.
const (
	headerAPIKey        = "X-API-Key" //nolint:gosec // the name of a header
	headerAuthorization = "Authorization"
)

// Principal is who a request is from and what they may do.
type Principal struct {
	Tenant string
	// KeyID names who asks: in limits, logs and audit records.
	KeyID string
	// Scopes are what they may do for the tenant.
	Scopes []apikey.Scope
	// Admin may do everything, and make keys of any tenant.
	Admin bool
	// RateLimit is how many calls a minute they may make; 0: the default.
	RateLimit int
	// Expires is when the credential ends; zero: it does not.
	Expires time.Time
}

// May reports whether the scopes allow what needs one; the empty scope is what
// every valid key may do.
func (p *Principal) May(need apikey.Scope) bool {
	return need == "" || p.Admin || slices.Contains(p.Scopes, need)
}

// Authenticator tells who a request is from. Its error is an
// unauthenticated *errs.Error unless the question could not be answered.
type Authenticator interface {
	Authenticate(ctx context.Context, r *http.Request) (Principal, error)
}

var _ Authenticator = (*AdminKey)(nil)

// AdminKey is an Authenticator that knows one key.
type AdminKey struct{ sum [sha256.Size]byte }

// NewAdminKey returns an authenticator for the key, which must not be empty.
func NewAdminKey(key secret.Value) (*AdminKey, error) {
	if key.Empty() {
		return nil, errors.New("auth: the admin key is empty")
	}
	return &AdminKey{sum: sha256.Sum256([]byte(key.Reveal()))}, nil
}

// Authenticate implements Authenticator.
func (a *AdminKey) Authenticate(_ context.Context, r *http.Request) (Principal, error) {
	key, err := presented(r.Header)
	if err != nil {
		return Principal{}, err
	}
	// Sums are compared, not keys: so neither the content nor the length shows
	// in the time it takes.
	sum := sha256.Sum256([]byte(key))
	if subtle.ConstantTimeCompare(sum[:], a.sum[:]) != 1 {
		return Principal{}, errs.New(errs.Unauthenticated, "The key is not valid.")
	}
	return Principal{Tenant: DefaultTenant, KeyID: "admin", Admin: true}, nil
}

// presented returns the one key of a request. Two different ones are refused:
// which of them a proxy in front checked cannot be known.
func presented(h http.Header) (string, error) {
	keys := append([]string(nil), h.Values(headerAPIKey)...)
	for _, v := range h.Values(headerAuthorization) {
		scheme, token, ok := strings.Cut(v, " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			return "", errs.New(errs.Unauthenticated, "The Authorization header must be Bearer and the key.")
		}
		keys = append(keys, strings.TrimSpace(token))
	}
	if len(keys) == 0 || keys[0] == "" {
		return "", errs.New(errs.Unauthenticated, "")
	}
	for _, k := range keys[1:] {
		if k != keys[0] {
			return "", errs.New(errs.Unauthenticated, "The request carries two different keys.")
		}
	}
	return keys[0], nil
}
