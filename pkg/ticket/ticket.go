package ticket

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/secret"
)

// Collection holds the tickets that were not used yet.
const Collection = "tickets"

const (
	// Life is how long a ticket works.
	Life = 30 * time.Second
	// Skew is how far the clocks of the instance that issues a ticket and of the
	// one that redeems it may be apart: within it a ticket works for its whole
	// life, and never for longer than Life and twice this.
	Skew = 5 * time.Second
)

// Prefix begins every ticket, so that one that leaked can be found.
const Prefix = "cgwt_"

// length is that of a ticket: the prefix and what [rand.Text] returns, 130 bits.
const length = len(Prefix) + 26

// ErrInvalid means that a ticket does not work: nobody issued it, it was used
// before, or its time is over. Which of them is not told.
var ErrInvalid = errors.New("ticket: not valid")

// Holder is whom a ticket speaks for: the credential it was made with.
type Holder struct {
	Tenant string `json:"tenant"`
	KeyID  string `json:"key_id"`
	// Secret is which secret of the key was shown, as streams know it.
	Secret    int            `json:"secret,omitempty"`
	Scopes    []apikey.Scope `json:"scopes,omitempty"`
	Admin     bool           `json:"admin,omitempty"`
	RateLimit int            `json:"rate_limit,omitempty"`
	// Expires is when that credential ends; zero: it does not.
	Expires time.Time `json:"expires,omitzero"`
}

// Ticket is a new ticket. Its value is shown once.
type Ticket struct {
	Value     secret.Value
	ExpiresAt time.Time
}

// document is a stored ticket.
type document struct {
	Holder

	CreatedAt time.Time `json:"created_at"`
}

// Schema declares the tickets.
func Schema() docstore.Collection {
	return docstore.Collection{
		Name:    Collection,
		Fields:  []docstore.Field{{Name: "expires_at", Kind: docstore.Int}},
		Indexes: []docstore.Index{{Name: docstore.IndexExpiry, Order: "expires_at"}},
		Expires: "expires_at",
	}
}

// Store issues and redeems tickets.
type Store struct {
	docs *docstore.Store
	now  func() time.Time
}

// NewStore returns a store over documents.
func NewStore(docs *docstore.Store, now func() time.Time) *Store {
	return &Store{docs: docs, now: now}
}

// Issue stores a new ticket for h.
func (s *Store) Issue(ctx context.Context, h Holder) (Ticket, error) {
	value, now := Prefix+rand.Text(), s.now()
	data, err := json.Marshal(document{Holder: h, CreatedAt: now})
	if err != nil {
		return Ticket{}, fmt.Errorf("ticket: encode: %w", err)
	}
	// The document stays for twice the skew longer than the ticket works: an
	// instance whose clock is late must still find it.
	w := docstore.Write{Op: docstore.Create, Key: key(value), Data: data, Fields: docstore.Fields{
		"expires_at": now.Add(Life + 2*Skew).UnixMicro(),
	}}
	if _, err := s.docs.Commit(ctx, []docstore.Write{w}); err != nil {
		return Ticket{}, fmt.Errorf("ticket: issue: %w", err)
	}
	return Ticket{Value: secret.NewValue(value), ExpiresAt: now.Add(Life)}, nil
}

// Redeem takes a ticket: it works for the one caller whose delete of it is the
// first. Whatever is shown is used up, also where its time is over. The error is
// ErrInvalid, or the store's; after that of the store the ticket may be used up.
func (s *Store) Redeem(ctx context.Context, value string) (Holder, error) {
	if !Is(value) {
		return Holder{}, ErrInvalid
	}
	doc, err := s.docs.Get(ctx, key(value))
	if errors.Is(err, docstore.ErrNotFound) {
		return Holder{}, ErrInvalid
	}
	if err != nil {
		return Holder{}, fmt.Errorf("ticket: read: %w", err)
	}
	var d document
	if err := json.Unmarshal(doc.Data, &d); err != nil {
		return Holder{}, fmt.Errorf("ticket: decode: %w", err)
	}
	_, err = s.docs.Commit(ctx, []docstore.Write{{Op: docstore.Delete, Key: doc.Key, Version: doc.Version}})
	if errors.Is(err, docstore.ErrConflict) {
		return Holder{}, ErrInvalid // somebody else was first
	}
	if err != nil {
		return Holder{}, fmt.Errorf("ticket: redeem: %w", err)
	}
	// By two clocks: the age may be negative.
	if age := s.now().Sub(d.CreatedAt); age < -Skew || age > Life+Skew {
		return Holder{}, ErrInvalid
	}
	if !d.Expires.IsZero() && !s.now().Before(d.Expires) {
		return Holder{}, ErrInvalid
	}
	return d.Holder, nil
}

// Is reports whether a string has the form of a ticket.
func Is(value string) bool {
	if len(value) != length || !strings.HasPrefix(value, Prefix) {
		return false
	}
	for _, c := range []byte(value[len(Prefix):]) {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// key names a ticket's document by its hash. What is hashed is random and long,
// so that no salt or slow hash is needed.
func key(value string) docstore.Key {
	sum := sha256.Sum256([]byte(value))
	return docstore.Key{Collection: Collection, ID: hex.EncodeToString(sum[:])}
}
