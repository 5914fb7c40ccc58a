package apikey

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
)

// Collection holds the keys.
const Collection = "api_keys"

// Schema declares the keys.
func Schema() docstore.Collection {
	return docstore.Collection{
		Name:    Collection,
		Fields:  []docstore.Field{{Name: "tenant", Kind: docstore.String}, {Name: "created", Kind: docstore.Int}},
		Indexes: []docstore.Index{{Name: "by_tenant", Equal: []string{"tenant"}, Order: "created", Read: docstore.Descending}},
	}
}

// maxPrevious is how many replaced secrets of a key may be valid beside the one
// in use. More than one, so that a rotation whose answer was lost can be repeated
// without cutting off who still uses the secret before it.
const maxPrevious = 4

// Record is what is known of a key.
type Record struct {
	ID     string  `json:"id"`
	Tenant string  `json:"tenant"`
	Name   string  `json:"name,omitempty"`
	Scopes []Scope `json:"scopes"`
	// RateLimit is how many calls a minute it may make; 0: the default.
	RateLimit int `json:"rate_limit,omitempty"`
	// CreatedBy is the id of the key that made it.
	CreatedBy string    `json:"created_by,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	// ExpiresAt, RevokedAt, RotatedAt and LastUsedAt are zero when that is not so.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	RotatedAt time.Time `json:"rotated_at,omitzero"`
	// LastUsedAt may be UseEvery behind.
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
	// Secret is the one in use, Previous are those it replaced, the newest first.
	Secret   Secret   `json:"secret"`
	Previous []Secret `json:"previous,omitempty"`
}

// Secret is what is stored of one secret of a key.
type Secret struct {
	// Number counts the secrets of the key, from 1.
	Number int `json:"number"`
	// MAC is the HMAC-SHA-256 of the key under the pepper with the id Pepper.
	MAC    []byte `json:"mac"`
	Pepper string `json:"pepper"`
	// Until is when a replaced secret ends.
	Until time.Time `json:"until,omitzero"`
}

// Statuses of a key.
const (
	Active  = "active"
	Expired = "expired"
	Revoked = "revoked"
)

// Status is what has become of the key.
func (r *Record) Status(now time.Time) string {
	switch {
	case !r.RevokedAt.IsZero():
		return Revoked
	case over(r.ExpiresAt, now):
		return Expired
	default:
		return Active
	}
}

// Good tells until when the secret of a number is good, zero meaning without
// end; number 0 is no secret at all, which is good as long as the key. The error
// is unauthenticated and says why it is not.
func (r *Record) Good(number int, now time.Time) (until time.Time, err error) {
	switch r.Status(now) {
	case Revoked:
		return time.Time{}, ErrRevoked
	case Expired:
		return time.Time{}, errs.New(errs.Unauthenticated, "The key has expired.")
	}
	if number == 0 || number == r.Secret.Number {
		return r.ExpiresAt, nil
	}
	i := slices.IndexFunc(r.Previous, func(s Secret) bool { return s.Number == number })
	if i < 0 || over(r.Previous[i].Until, now) {
		return time.Time{}, errs.New(errs.Unauthenticated, "The key was rotated, and this secret of it is no longer valid.")
	}
	until = r.Previous[i].Until
	if !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(until) {
		until = r.ExpiresAt
	}
	return until, nil
}

// ErrRevoked is the answer to who shows a revoked key.
var ErrRevoked = errs.New(errs.Unauthenticated, "The key was revoked.")

// over reports whether a moment has come; the zero one never does.
func over(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

func key(keyID string) docstore.Key { return docstore.Key{Collection: Collection, ID: keyID} }

// write is the write that stores the record.
func (r *Record) write(op docstore.Op, version docstore.Version) (docstore.Write, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return docstore.Write{}, fmt.Errorf("apikey: encode %s: %w", r.ID, err)
	}
	return docstore.Write{
		Op: op, Key: key(r.ID), Version: version, Data: data,
		Fields: docstore.Fields{"tenant": r.Tenant, "created": r.CreatedAt.UnixMicro()},
	}, nil
}

func decode(doc *docstore.Doc) (*Record, error) {
	var r Record
	if err := json.Unmarshal(doc.Data, &r); err != nil {
		return nil, fmt.Errorf("apikey: decode %s: %w", doc.Key.ID, err)
	}
	return &r, nil
}
