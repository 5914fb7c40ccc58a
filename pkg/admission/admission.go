package admission

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"

	"codexgateway.dev/pkg/docstore"
)

// Collection holds the slots that are taken.
const Collection = "tenant_slots"

// indexByTenant lists a tenant's taken slots.
const indexByTenant = "by_tenant"

// MaxLimit bounds a tenant's limit: its taken slots are read in one page.
const MaxLimit = docstore.MaxPage

// Schema declares the documents.
func Schema() docstore.Collection {
	return docstore.Collection{
		Name: Collection,
		Fields: []docstore.Field{
			{Name: "tenant", Kind: docstore.String},
			{Name: "n", Kind: docstore.Int},
		},
		Indexes: []docstore.Index{{Name: indexByTenant, Equal: []string{"tenant"}, Order: "n"}},
	}
}

// Slot is one running slot of a tenant.
type Slot struct {
	Tenant string `json:"tenant"`
	// N is 1 to the tenant's limit.
	N int `json:"n"`
	// Job holds the slot.
	Job string `json:"job"`

	version docstore.Version
}

// key hashes the tenant: its name is not bound to the alphabet of ids.
func (s *Slot) key() docstore.Key {
	sum := sha256.Sum256([]byte(s.Tenant))
	return docstore.Key{Collection: Collection, ID: fmt.Sprintf("%s:%04d", hex.EncodeToString(sum[:16]), s.N)}
}

// Take is the write that gives a free slot to its job.
func (s *Slot) Take() (docstore.Write, error) { return s.write(docstore.Create) }

// Pass is the write that hands a taken slot on to another job.
func (s *Slot) Pass(jobID string) (docstore.Write, error) {
	next := *s
	next.Job = jobID
	return next.write(docstore.Replace)
}

// Release is the write that frees a taken slot.
func (s *Slot) Release() docstore.Write {
	return docstore.Write{Op: docstore.Delete, Key: s.key(), Version: s.version}
}

func (s *Slot) write(op docstore.Op) (docstore.Write, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return docstore.Write{}, fmt.Errorf("admission: encode slot: %w", err)
	}
	return docstore.Write{
		Op: op, Key: s.key(), Version: s.version, Data: data,
		Fields: docstore.Fields{"tenant": s.Tenant, "n": int64(s.N)},
	}, nil
}

// Store reads slots.
type Store struct{ docs *docstore.Store }

// NewStore returns a store over documents.
func NewStore(docs *docstore.Store) *Store { return &Store{docs: docs} }

// Guess names any slot of a tenant for a job without looking whether it is
// free: right most of the time while most are, and if not, Take conflicts.
func Guess(tenant, jobID string, limit int) Slot {
	return Slot{Tenant: tenant, N: 1 + rand.N(limit), Job: jobID}
}

// Find names a free slot of a tenant for a job; ok is false when the tenant has
// as many jobs admitted as its limit allows. Another job may take the slot
// first: Take then conflicts.
func (s *Store) Find(ctx context.Context, tenant, jobID string, limit int) (slot Slot, ok bool, err error) {
	page, err := s.docs.Query(ctx, docstore.Query{
		Collection: Collection, Index: indexByTenant, Equal: []any{tenant}, Limit: MaxLimit,
	})
	if err != nil {
		return Slot{}, false, fmt.Errorf("admission: find slot: %w", err)
	}
	// Slots above a limit that was lowered count too, until their jobs end.
	if len(page.Docs) >= limit {
		return Slot{}, false, nil
	}
	taken := make(map[int64]bool, len(page.Docs))
	for i := range page.Docs {
		if n, ok := page.Docs[i].Fields["n"].(int64); ok {
			taken[n] = true
		}
	}
	// Any free one, not the first: those who look at the same moment must not
	// all meet at one.
	start := rand.N(limit)
	for i := range limit {
		if n := 1 + (start+i)%limit; !taken[int64(n)] {
			return Slot{Tenant: tenant, N: n, Job: jobID}, true, nil
		}
	}
	return Slot{}, false, nil
}

// Held reads the slot a job holds; nil when it does not hold it.
func (s *Store) Held(ctx context.Context, tenant, jobID string, n int) (*Slot, error) {
	slot := &Slot{Tenant: tenant, N: n}
	doc, err := s.docs.Get(ctx, slot.key())
	if errors.Is(err, docstore.ErrNotFound) {
		return nil, nil //nolint:nilnil // no slot is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("admission: get slot: %w", err)
	}
	if err := json.Unmarshal(doc.Data, slot); err != nil {
		return nil, fmt.Errorf("admission: decode slot: %w", err)
	}
	if slot.Job != jobID {
		return nil, nil //nolint:nilnil // no slot is an answer
	}
	slot.version = doc.Version
	return slot, nil
}
