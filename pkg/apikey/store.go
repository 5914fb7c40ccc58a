package apikey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/secret"
)

// Limits of what a key says.
const (
	MaxName    = 255
	MaxTenant  = 64
	MaxRate    = 1_000_000
	MaxOverlap = 30 * 24 * time.Hour
	// DefaultOverlap is how long the old secret stays valid after a rotation
	// that does not say.
	DefaultOverlap = 24 * time.Hour
	// UseEvery is the least time between two writes of when a key was last used.
	UseEvery = 10 * time.Minute
)

const (
	// defaultPage is how many keys a page of List has if it is not said.
	defaultPage = 50
	// attempts bounds how often a change is tried that others overtake: they are
	// changes by people and notes of a last use.
	attempts = 8
)

// Store makes, changes and checks keys. Every field is required.
type Store struct {
	Docs    *docstore.Store
	Bus     *bus.Bus
	Secrets *secret.Secrets
	Now     func() time.Time
	Logger  *slog.Logger
	// Source is the CloudEvents source of what it publishes.
	Source string
	// Env names the installation in its keys: see ValidEnv.
	Env string
}

// errNoKey is the answer to an id that is none of the tenant's.
func errNoKey() error { return errs.New(errs.NotFound, "There is no such key.") }

// ValidTenant reports whether s can name a tenant: 1 to 64 letters, digits,
// ".", "_" and "-", beginning with a letter or digit.
func ValidTenant(s string) bool {
	if s == "" || len(s) > MaxTenant || strings.ContainsRune("._-", rune(s[0])) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	}) < 0
}

// New is a key to be made. Its values are valid: see the limits above.
type New struct {
	Tenant, Name string
	Scopes       []Scope
	RateLimit    int
	ExpiresAt    time.Time
	CreatedBy    string
}

// Also is a write that goes into the commit of a change, made from the key as it
// will be: neither is ever there without the other. nil: none.
type Also func(*Record) (docstore.Write, error)

// writes is the commit of a changed key.
func (also Also) writes(r *Record, op docstore.Op, version docstore.Version) ([]docstore.Write, error) {
	w, err := r.write(op, version)
	if err != nil || also == nil {
		return []docstore.Write{w}, err
	}
	more, err := also(r)
	return []docstore.Write{w, more}, err
}

// Create makes a key and returns it with what is stored of it. overloaded:
// there is no pepper, or whether it was stored is unknown; a key that was is one
// that nobody has seen.
func (s *Store) Create(ctx context.Context, n New, also Also) (*Record, secret.Value, error) {
	parts, err := newParts(s.Env, "")
	if err != nil {
		return nil, secret.Value{}, err
	}
	r := &Record{
		ID: parts.KeyID(), Tenant: n.Tenant, Name: n.Name, Scopes: slices.Clone(n.Scopes), RateLimit: n.RateLimit,
		CreatedBy: n.CreatedBy, CreatedAt: s.Now().UTC(), ExpiresAt: n.ExpiresAt,
	}
	if r.Secret, err = s.secretOf(ctx, parts, 1); err != nil {
		return nil, secret.Value{}, err
	}
	writes, err := also.writes(r, docstore.Create, 0)
	if err != nil {
		return nil, secret.Value{}, err
	}
	if _, err := s.Docs.Commit(ctx, writes); err != nil {
		return nil, secret.Value{}, fmt.Errorf("apikey: create: %w", err)
	}
	return r, parts.key(), nil
}

// secretOf is what is stored of a key's secret.
func (s *Store) secretOf(ctx context.Context, parts Parts, number int) (Secret, error) {
	all, err := s.peppers(ctx)
	if errors.Is(err, ErrNoPepper) {
		return Secret{}, errPepper(err)
	}
	if err != nil {
		return Secret{}, err
	}
	return Secret{Number: number, MAC: all[0].mac(parts), Pepper: all[0].id}, nil
}

// Rotate gives a key a new secret and returns it. The one in use so far stays
// valid for overlap, as do those that were replaced before for what is left of
// theirs, at most four in all. may is asked about the key before it is changed.
func (s *Store) Rotate(ctx context.Context, tenant, keyID string, overlap time.Duration, may func(*Record) error, also Also) (*Record, secret.Value, error) {
	var made secret.Value
	r, err := s.change(ctx, tenant, keyID, also, func(r *Record) (bool, error) {
		if err := may(r); err != nil {
			return false, err
		}
		now := s.Now().UTC()
		if status := r.Status(now); status != Active {
			return false, errs.New(errs.Conflict, "The key is "+status+".")
		}
		parts, err := newParts(s.Env, r.ID)
		if err != nil {
			return false, err
		}
		next, err := s.secretOf(ctx, parts, r.Secret.Number+1)
		if err != nil {
			return false, err
		}
		if overlap <= 0 {
			r.Previous = nil // who allows no overlap wants nothing else to be valid
		} else {
			old := r.Secret
			old.Until = now.Add(overlap)
			r.Previous = append([]Secret{old}, r.Previous...)
			r.Previous = slices.DeleteFunc(r.Previous, func(p Secret) bool { return over(p.Until, now) })
			r.Previous = r.Previous[:min(len(r.Previous), maxPrevious)]
		}
		r.Secret, r.RotatedAt, made = next, now, parts.key()
		return true, nil
	})
	if err != nil {
		return nil, secret.Value{}, err
	}
	s.publish(ctx, r, &events.KeyRotated{KeyID: r.ID, Tenant: r.Tenant})
	return r, made, nil
}

// Revoke ends a key for ever and tells every edge. A revoked one stays as it is,
// and is told of again: the first time may not have been heard.
func (s *Store) Revoke(ctx context.Context, tenant, keyID string, also Also) (*Record, error) {
	r, err := s.change(ctx, tenant, keyID, also, func(r *Record) (bool, error) {
		if !r.RevokedAt.IsZero() {
			return false, nil
		}
		r.RevokedAt = s.Now().UTC()
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	s.publish(ctx, r, &events.KeyRevoked{KeyID: r.ID, Tenant: r.Tenant})
	return r, nil
}

// change reads a tenant's key, has it changed and stores it, again if others
// were faster.
func (s *Store) change(ctx context.Context, tenant, keyID string, also Also, how func(*Record) (changed bool, err error)) (*Record, error) {
	for n := 1; ; n++ {
		r, version, err := s.read(ctx, keyID)
		if err != nil {
			return nil, err
		}
		if r.Tenant != tenant {
			return nil, errNoKey()
		}
		changed, err := how(r)
		if err != nil || !changed {
			return r, err
		}
		writes, err := also.writes(r, docstore.Replace, version)
		if err != nil {
			return nil, err
		}
		_, err = s.Docs.Commit(ctx, writes)
		switch {
		case err == nil:
			return r, nil
		case !errors.Is(err, docstore.ErrConflict) || n == attempts:
			return nil, fmt.Errorf("apikey: change %s: %w", keyID, err)
		}
	}
}

// read reads a key of any tenant; not_found without one.
func (s *Store) read(ctx context.Context, keyID string) (*Record, docstore.Version, error) {
	if !IsID(keyID) {
		return nil, 0, errNoKey()
	}
	doc, err := s.Docs.Get(ctx, key(keyID))
	if errors.Is(err, docstore.ErrNotFound) {
		return nil, 0, errNoKey()
	}
	if err != nil {
		return nil, 0, fmt.Errorf("apikey: get: %w", err)
	}
	r, err := decode(&doc)
	return r, doc.Version, err
}

// Get reads a key of any tenant; not_found without one.
func (s *Store) Get(ctx context.Context, keyID string) (*Record, error) {
	r, _, err := s.read(ctx, keyID)
	return r, err
}

// List reads a page of a tenant's keys, the newest first; limit 0 is 50.
func (s *Store) List(ctx context.Context, tenant string, limit int, cursor string) (keys []*Record, next string, err error) {
	if limit <= 0 {
		limit = defaultPage
	}
	page, err := s.Docs.Query(ctx, docstore.Query{
		Collection: Collection, Index: "by_tenant", Equal: []any{tenant}, Desc: true, Limit: limit, Cursor: cursor,
	})
	if errors.Is(err, docstore.ErrInvalid) && cursor != "" {
		return nil, "", errs.Param("/cursor", "The cursor is not one of this query's.")
	}
	if err != nil {
		return nil, "", fmt.Errorf("apikey: list: %w", err)
	}
	keys = make([]*Record, len(page.Docs))
	for i := range page.Docs {
		if keys[i], err = decode(&page.Docs[i]); err != nil {
			return nil, "", err
		}
	}
	return keys, page.Next, nil
}

// publish tells the edges what is already stored. A failure costs time only:
// each of them reads its keys again by and by.
func (s *Store) publish(ctx context.Context, r *Record, payload any) {
	ev, err := events.New(events.Head{ID: id.New(id.Event), Source: s.Source, Subject: r.ID, Time: s.Now()}, payload)
	if err == nil {
		// What is stored must be told even if the caller has gone meanwhile; the
		// bus has a deadline of its own.
		err = s.Bus.Publish(context.WithoutCancel(ctx), ev)
	}
	if err != nil {
		s.Logger.WarnContext(ctx, "publish failed, edges will read the key again",
			slog.String("key_id", r.ID), slog.String("event_type", ev.Type()), slog.Any("error", err))
	}
}
