package apikey

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/secret"
)

// PepperSecret names the secret whose lines are the peppers: the first one is
// what new keys are stored under, keys stored under the others stay valid.
const PepperSecret = "key-pepper"

const (
	// minPepper is the least a pepper has, in bytes: openssl rand -hex 32 is 64.
	minPepper = 32
	// maxPeppers bounds the peppers of the secret.
	maxPeppers = 8
)

// ErrNoPepper means that the secret with the peppers is missing or no use.
var ErrNoPepper = errors.New("apikey: no pepper")

// errPepper is the answer to who makes keys without a pepper.
func errPepper(cause error) error {
	return errs.Wrap(errs.Overloaded, "Keys cannot be made: the gateway's secret "+PepperSecret+
		" is missing or shorter than 32 characters. Create it with a random value, such as the output of openssl rand -hex 32.", cause)
}

// NewPepper returns a random pepper.
func NewPepper() (secret.Value, error) {
	var raw [32]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return secret.Value{}, fmt.Errorf("apikey: make a pepper: %w", err)
	}
	return secret.NewValue(hex.EncodeToString(raw[:])), nil
}

// pepper is a key of the HMAC.
type pepper struct {
	// id names the pepper beside what it made: it is an HMAC too, and tells
	// nothing of it.
	id  string
	key []byte
}

// mac is what is stored of a key.
func (p *pepper) mac(k Parts) []byte {
	h := hmac.New(sha256.New, p.key)
	h.Write([]byte(k.body))
	return h.Sum(nil)
}

// peppers are those of the secret, the one in use first.
type peppers []pepper

// of returns the pepper of an id; not known: another one, so that who checks a
// key does the same work.
func (p peppers) of(id string) (at *pepper, known bool) {
	for i := range p {
		if p[i].id == id {
			return &p[i], true
		}
	}
	return &p[0], false
}

// parsePeppers reads the lines of the secret.
func parsePeppers(v secret.Value) (peppers, error) {
	var out peppers
	for line := range strings.Lines(v.Reveal()) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if len(line) < minPepper {
			return nil, fmt.Errorf("%w: a line of the secret %s has less than %d characters", ErrNoPepper, PepperSecret, minPepper)
		}
		p := pepper{key: []byte(line)}
		h := hmac.New(sha256.New, p.key)
		h.Write([]byte("codexgw: the id of a pepper"))
		p.id = hex.EncodeToString(h.Sum(nil)[:8])
		out = append(out, p)
	}
	if len(out) == 0 || len(out) > maxPeppers {
		return nil, fmt.Errorf("%w: the secret %s has %d lines, 1 to %d are possible", ErrNoPepper, PepperSecret, len(out), maxPeppers)
	}
	return out, nil
}

// peppers reads the secret; ErrNoPepper without one.
func (s *Store) peppers(ctx context.Context) (peppers, error) {
	v, err := s.Secrets.Get(ctx, PepperSecret)
	if errors.Is(err, secret.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", ErrNoPepper, err)
	}
	if err != nil {
		return nil, fmt.Errorf("apikey: pepper: %w", err)
	}
	return parsePeppers(v)
}
