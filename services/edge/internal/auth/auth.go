package auth

import (
	"context"
	"errors"
	"net/http"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/secret"
)

// Challenge is the WWW-Authenticate of every 401.
const Challenge = `Bearer realm="codexgateway"`

// ErrNotMine is a [Method]'s answer to a credential that is not of its kind.
var ErrNotMine = errors.New("auth: not a credential of this kind")

// Invalid is the answer to a credential that nobody knows, one like any other:
// it must not show how near a guess came.
func Invalid() error { return errs.New(errs.Unauthenticated, "The key is not valid.") }

// Authenticator tells who a request is from. Its error is an
// unauthenticated *errs.Error unless the question could not be answered.
type Authenticator interface {
	Authenticate(ctx context.Context, r *http.Request) (Principal, error)
}

// Scheme is how a credential was presented. One of one scheme is nothing in
// another.
type Scheme string

// The schemes there are.
const (
	// Bearer is X-API-Key, or Authorization: Bearer.
	Bearer Scheme = "Bearer"
	// Ticket is Authorization: Ticket, or a subprotocol of a WebSocket.
	Ticket Scheme = "Ticket"
)

// Credential is what a request presents.
type Credential struct {
	Scheme Scheme
	Token  secret.Value
}

// Method knows one kind of credential.
type Method interface {
	// Identify tells whose credential it is. The error is ErrNotMine if it is of
	// another kind: the next method is asked. Any other ends the request.
	Identify(ctx context.Context, c Credential) (Principal, error)
}

// Chain is an Authenticator that asks methods in their order.
type Chain []Method

var _ Authenticator = Chain(nil)

// Authenticate implements Authenticator.
func (chain Chain) Authenticate(ctx context.Context, r *http.Request) (Principal, error) {
	c, err := presented(r.Header)
	if err != nil {
		return Principal{}, err
	}
	for _, m := range chain {
		p, err := m.Identify(ctx, c)
		if !errors.Is(err, ErrNotMine) {
			return p, err
		}
	}
	return Principal{}, Invalid()
}
