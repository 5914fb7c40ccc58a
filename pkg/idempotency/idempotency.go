package idempotency

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
)

// Collection holds the claims.
const Collection = "idempotency"

// Keep is how long a claim answers for its key: 24 hours at least, on instances
// whose clocks are ten minutes apart too.
const Keep = 24*time.Hour + 10*time.Minute

// MaxKey is the longest accepted key, in bytes.
const MaxKey = 255

// Schema declares the claims.
func Schema() docstore.Collection {
	return docstore.Collection{
		Name:    Collection,
		Fields:  []docstore.Field{{Name: "expires_at", Kind: docstore.Int}},
		Indexes: []docstore.Index{{Name: docstore.IndexExpiry, Order: "expires_at"}},
		Expires: "expires_at",
	}
}

// claim is the document of one used key.
type claim struct {
	JobID string `json:"job_id"`
	// Params is the hash of the parameters the key was first used with.
	Params    string    `json:"params"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Store looks up claims and prepares new ones.
type Store struct{ docs *docstore.Store }

// NewStore returns a store over documents.
func NewStore(docs *docstore.Store) *Store { return &Store{docs: docs} }

// Hash is the fingerprint of parameters. JSON of one Go value is
// deterministic: struct fields in order, map keys sorted.
func Hash(params any) (string, error) {
	b, err := json.Marshal(params)
	if err != nil {
		return "", fmt.Errorf("idempotency: hash: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func key(tenant, k string) docstore.Key {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s:%s", len(tenant), tenant, k))
	return docstore.Key{Collection: Collection, ID: hex.EncodeToString(sum[:])}
}

// Check returns the job an earlier use of the key created (empty: none), and
// the write that claims the key for jobID. A key used with other parameters is
// idempotency_mismatch.
func (s *Store) Check(ctx context.Context, tenant, k, params, jobID string, now time.Time) (earlier string, w docstore.Write, err error) {
	if len(k) > MaxKey {
		return "", w, errs.Param("/idempotency_key", fmt.Sprintf("At most %d bytes are allowed.", MaxKey))
	}
	w = docstore.Write{Op: docstore.Create, Key: key(tenant, k)}
	doc, err := s.docs.Get(ctx, w.Key)
	switch {
	case errors.Is(err, docstore.ErrNotFound):
	case err != nil:
		return "", w, fmt.Errorf("idempotency: get: %w", err)
	default:
		var c claim
		if err := json.Unmarshal(doc.Data, &c); err != nil {
			return "", w, fmt.Errorf("idempotency: decode: %w", err)
		}
		if now.Before(c.ExpiresAt) {
			if c.Params != params {
				return "", w, errs.New(errs.IdempotencyMismatch, "")
			}
			return c.JobID, w, nil
		}
		// The old claim is over: the key may be used anew, by one of two racers.
		w.Op, w.Version = docstore.Replace, doc.Version
	}
	c := claim{JobID: jobID, Params: params, ExpiresAt: now.Add(Keep)}
	if w.Data, err = json.Marshal(c); err != nil {
		return "", w, fmt.Errorf("idempotency: encode: %w", err)
	}
	w.Fields = docstore.Fields{"expires_at": c.ExpiresAt.UnixMicro()}
	return "", w, nil
}
