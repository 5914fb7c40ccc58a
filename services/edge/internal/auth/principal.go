package auth

import (
	"slices"
	"time"

	"codexgateway.dev/pkg/apikey"
)

// DefaultTenant owns everything that is made with the admin key.
const DefaultTenant = "default"

// AdminKeyID names the admin key in logs, limits and audit records.
const AdminKeyID = "admin"

// Principal is who a request is from and what they may do.
type Principal struct {
	Tenant string
	// KeyID names who asks: in limits, logs and audit records.
	KeyID string
	// Secret is which secret of the key was shown, counted from 1; 0: none of its
	// own. A stream ends with it.
	Secret int
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
