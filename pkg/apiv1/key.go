package apiv1

// Statuses of a key.
const (
	KeyActive  = "active"
	KeyExpired = "expired"
	KeyRevoked = "revoked"
)

// KeyCreateParams are the params of key.create.
type KeyCreateParams struct {
	Name string `json:"name,omitempty"`
	// Tenant is whose key it becomes; empty: the caller's own.
	Tenant string `json:"tenant,omitempty"`
	// Scopes are what it may do; empty: all but keys:admin that the caller has.
	Scopes []string `json:"scopes,omitempty"`
	// RateLimit is how many calls a minute it may make; 0: the default.
	RateLimit int `json:"rate_limit,omitempty"`
	// ExpiresAt is RFC 3339; empty: never.
	ExpiresAt string `json:"expires_at,omitempty"`
}

// KeyRotateParams are the params of key.rotate.
type KeyRotateParams struct {
	KeyID string `json:"key_id"`
	// OverlapS is for how many seconds the old secret stays valid; left out: a
	// day, 0: not at all.
	OverlapS *int `json:"overlap_s,omitempty"`
	// Tenant is whose key it is; empty: the caller's own.
	Tenant string `json:"tenant,omitempty"`
}

// KeyRef are the params of key.revoke.
type KeyRef struct {
	KeyID string `json:"key_id"`
	// Tenant is whose key it is; empty: the caller's own.
	Tenant string `json:"tenant,omitempty"`
}

// KeyListParams are the params of key.list.
type KeyListParams struct {
	// Tenant is whose keys are listed; empty: the caller's own.
	Tenant string `json:"tenant,omitempty"`
	Limit  int    `json:"limit,omitempty"`
	Cursor string `json:"cursor,omitempty"`
}

// Key is what is known of a key, without its secret.
type Key struct {
	KeyID     string   `json:"key_id"`
	Tenant    string   `json:"tenant"`
	Name      string   `json:"name,omitempty"`
	Status    string   `json:"status"`
	Scopes    []string `json:"scopes"`
	RateLimit int      `json:"rate_limit,omitempty"`
	CreatedBy string   `json:"created_by,omitempty"`
	CreatedAt string   `json:"created_at"`
	ExpiresAt string   `json:"expires_at,omitempty"`
	RotatedAt string   `json:"rotated_at,omitempty"`
	// OverlapUntil is when the last secret that was replaced ends.
	OverlapUntil string `json:"overlap_until,omitempty"`
	RevokedAt    string `json:"revoked_at,omitempty"`
	// LastUsedAt may be some minutes behind.
	LastUsedAt string `json:"last_used_at,omitempty"`
}

// NewKey is the result of key.create and key.rotate: the only answer that ever
// holds the key itself.
type NewKey struct {
	Key

	Secret string `json:"key"`
}

// KeyListResult is the result of key.list.
type KeyListResult struct {
	Keys       []Key  `json:"keys"`
	NextCursor string `json:"next_cursor,omitempty"`
}
