package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/ticket"
)

var _ Method = (*Tickets)(nil)

// Tickets is a Method that knows tickets, each of them once.
type Tickets struct {
	store *ticket.Store
	// holds says what the credential of a principal is still good for.
	holds func(context.Context, Principal) (Principal, error)
}

// NewTickets returns a method over a store. Holds is asked, when a ticket is
// shown, what the credential that made it may still do: it returns an
// unauthenticated error for one that has ended; nil: all that it could.
func NewTickets(store *ticket.Store, holds func(context.Context, Principal) (Principal, error)) *Tickets {
	if holds == nil {
		holds = func(_ context.Context, p Principal) (Principal, error) { return p, nil }
	}
	return &Tickets{store: store, holds: holds}
}

// Issue makes a ticket for p with some of its scopes; none named: all of them,
// and whatever else p may do.
func (t *Tickets) Issue(ctx context.Context, p *Principal, scopes []apikey.Scope) (ticket.Ticket, error) {
	for i, s := range scopes {
		field := fmt.Sprintf("/scopes/%d", i)
		if !s.Valid() {
			return ticket.Ticket{}, errs.Param(field, "There is no such scope.")
		}
		if !p.May(s) {
			return ticket.Ticket{}, errs.Param(field, "The key itself does not have this scope.")
		}
	}
	h := ticket.Holder{
		Tenant: p.Tenant, KeyID: p.KeyID, Secret: p.Secret, Scopes: p.Scopes, Admin: p.Admin,
		RateLimit: p.RateLimit, Expires: p.Expires,
	}
	if len(scopes) > 0 {
		h.Scopes, h.Admin = scopes, false
	}
	made, err := t.store.Issue(ctx, h)
	if err != nil {
		return made, away(err)
	}
	return made, nil
}

// Identify implements Method.
func (t *Tickets) Identify(ctx context.Context, c Credential) (Principal, error) {
	if c.Scheme != Ticket {
		return Principal{}, ErrNotMine
	}
	h, err := t.store.Redeem(ctx, c.Token.Reveal())
	if errors.Is(err, ticket.ErrInvalid) {
		return Principal{}, errs.New(errs.Unauthenticated, "The ticket is not valid: it works once, and not for long.")
	}
	if err != nil {
		return Principal{}, away(err)
	}
	p := Principal{
		Tenant: h.Tenant, KeyID: h.KeyID, Secret: h.Secret, Scopes: h.Scopes, Admin: h.Admin,
		RateLimit: h.RateLimit, Expires: h.Expires,
	}
	now, err := t.holds(ctx, p)
	if err != nil {
		return Principal{}, err
	}
	// No more than the ticket was made for, and no more than its key may do now.
	now.Scopes = slices.DeleteFunc(slices.Clone(p.Scopes), func(s apikey.Scope) bool { return !now.May(s) })
	now.Admin = now.Admin && p.Admin
	return now, nil
}

// away gives a store that cannot be asked its code: another try may succeed.
func away(err error) error {
	if errors.Is(err, docstore.ErrUnavailable) {
		return errs.Wrap(errs.Overloaded, "The gateway's store is away for the moment.", err)
	}
	return err
}
