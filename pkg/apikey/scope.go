package apikey

import "slices"

// Scope is the right to one kind of work of a tenant.
type Scope string

// The scopes there are.
const (
	JobsRead       Scope = "jobs:read"
	JobsWrite      Scope = "jobs:write"
	ApprovalsWrite Scope = "approvals:write"
	WebhooksAdmin  Scope = "webhooks:admin"
	KeysAdmin      Scope = "keys:admin"
	AuditRead      Scope = "audit:read"
)

// AllScopes is every scope, in the order of the documentation.
func AllScopes() []Scope {
	return []Scope{JobsRead, JobsWrite, ApprovalsWrite, WebhooksAdmin, KeysAdmin, AuditRead}
}

// DefaultScopes is what a key may do whose maker did not say: all of its
// tenant's work, but neither making keys nor reading who did what.
func DefaultScopes() []Scope {
	return slices.DeleteFunc(AllScopes(), func(s Scope) bool { return s == KeysAdmin || s == AuditRead })
}

// Valid reports whether there is such a scope.
func (s Scope) Valid() bool { return slices.Contains(AllScopes(), s) }
