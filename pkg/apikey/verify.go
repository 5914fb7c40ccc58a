package apikey

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"codexgateway.dev/pkg/docstore"
)

// Verified is a key whose secret was shown.
type Verified struct {
	Record *Record
	// Secret is the number of the secret, Until when it ends; zero: it does not.
	Secret int
	Until  time.Time
}

// ErrUnknown is Verify's answer to a key that is none, or whose secret is wrong.
var ErrUnknown = errors.New("apikey: no such key")

// decoy stands for a key that there is none of, so that it takes the way of one
// with a wrong secret. No key has its MAC: that would be an HMAC of zeros.
func decoy() ([]byte, error) {
	return json.Marshal(Record{
		ID: keyIDPrefix + "000000000000", Tenant: "none", Scopes: DefaultScopes(), CreatedAt: time.Unix(1, 0).UTC(),
		Secret: Secret{Number: 1, MAC: make([]byte, 32), Pepper: "0000000000000000"},
	})
}

// Verify tells whose key was shown. ErrUnknown: nobody's. An unauthenticated
// *errs.Error says why a key is no longer good, which only its holder learns.
// ErrNoPepper, and errors of the store, mean that the question has no answer now.
func (s *Store) Verify(ctx context.Context, parts Parts) (Verified, error) {
	all, err := s.peppers(ctx)
	if err != nil {
		return Verified{}, err
	}
	doc, err := s.Docs.Get(ctx, key(parts.KeyID()))
	if errors.Is(err, docstore.ErrNotFound) {
		doc.Data, err = decoy()
	}
	if err != nil {
		return Verified{}, fmt.Errorf("apikey: verify: %w", err)
	}
	r, err := decode(&doc)
	if err != nil {
		return Verified{}, err
	}
	number, ok := r.match(all, parts)
	if !ok {
		return Verified{}, ErrUnknown
	}
	until, err := r.Good(number, s.Now())
	if err != nil {
		return Verified{Record: r}, err
	}
	return Verified{Record: r, Secret: number, Until: until}, nil
}

// match finds the secret that was shown. All are compared, and each under a
// pepper even if its own is gone: the time it takes tells nothing of the answer.
func (r *Record) match(all peppers, parts Parts) (number int, ok bool) {
	one := func(s *Secret) {
		p, known := all.of(s.Pepper)
		if subtle.ConstantTimeCompare(p.mac(parts), s.MAC) == 1 && known {
			number, ok = s.Number, true
		}
	}
	one(&r.Secret)
	for i := range r.Previous {
		one(&r.Previous[i])
	}
	return number, ok
}

// Used notes that a key was used at a moment, unless one less than UseEvery ago
// is noted already. It never overtakes another change: ErrConflict says that
// there was one, and the note is lost.
func (s *Store) Used(ctx context.Context, keyID string, at time.Time) error {
	r, version, err := s.read(ctx, keyID)
	if err != nil || at.Sub(r.LastUsedAt) < UseEvery {
		return err
	}
	r.LastUsedAt = at.UTC()
	w, err := r.write(docstore.Replace, version)
	if err != nil {
		return err
	}
	if _, err := s.Docs.Commit(ctx, []docstore.Write{w}); err != nil {
		return fmt.Errorf("apikey: note the use of %s: %w", keyID, err)
	}
	return nil
}
