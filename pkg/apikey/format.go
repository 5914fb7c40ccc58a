package apikey

import (
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"codexgateway.dev/pkg/secret"
)

// A key is cgw_<env>_<id>_<secret><crc32>: the checksum, eight hexadecimal
// digits over all that comes before, lets a secret scanner tell a key from a
// look-alike, and the gateway refuse a mistyped one without a read.
const (
	// Prefix begins every key, so that scanners find it.
	Prefix = "cgw_"
	// alphabet has 32 letters, so that a byte's low bits choose evenly.
	alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	idLen    = 12
	// secretLen is 160 random bits.
	secretLen = 32
	sumLen    = 8
	maxEnv    = 16
	tailLen   = 1 + idLen + 1 + secretLen + sumLen
)

// keyIDPrefix begins the id of a key where it is not part of the key.
const keyIDPrefix = "key_"

// ValidEnv reports whether env can name the installation in its keys: 1 to 16
// lower-case letters and digits.
func ValidEnv(env string) bool {
	return env != "" && len(env) <= maxEnv && strings.IndexFunc(env, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}) < 0
}

// IsID reports whether s has the form of a key's id, "key_" and 12 characters.
func IsID(s string) bool {
	rest, ok := strings.CutPrefix(s, keyIDPrefix)
	return ok && len(rest) == idLen && inAlphabet(rest)
}

// NameOf is the part of a key that a key's id is made of.
func NameOf(keyID string) string { return strings.TrimPrefix(keyID, keyIDPrefix) }

// Make returns a new random key of an environment that is valid.
func Make(env string) (secret.Value, error) {
	parts, err := newParts(env, "")
	if err != nil {
		return secret.Value{}, err
	}
	return parts.key(), nil
}

// newParts returns a new secret for an id; empty: a new id too.
func newParts(env, keyID string) (Parts, error) {
	if !ValidEnv(env) {
		return Parts{}, fmt.Errorf("apikey: %q is no environment: 1 to %d lower-case letters and digits", env, maxEnv)
	}
	raw := make([]byte, idLen+secretLen)
	if _, err := rand.Read(raw); err != nil {
		return Parts{}, fmt.Errorf("apikey: make a key: %w", err)
	}
	for i, b := range raw {
		raw[i] = alphabet[b&31]
	}
	name := string(raw[:idLen])
	if keyID != "" {
		name = NameOf(keyID)
	}
	return Parts{name: name, body: Prefix + env + "_" + name + "_" + string(raw[idLen:])}, nil
}

// Parts is a key of the right form. It prints as [redacted].
type Parts struct {
	name string
	// body is the key without its checksum.
	body string
}

// Name is the part of the key that names it, a part of the string it was parsed
// from.
func (p Parts) Name() string { return p.name }

// KeyID is the key's id, "key_…".
func (p Parts) KeyID() string { return keyIDPrefix + p.name }

// Format implements fmt.Formatter: nothing of a key is printed.
func (Parts) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "[redacted]") // fmt has no way to take the error
}

// key is the whole key.
func (p Parts) key() secret.Value {
	sum := checksum(p.body)
	return secret.NewValue(p.body + string(sum[:]))
}

// Parse takes a key apart, and nothing that only looks like one: its checksum
// is looked at before anything else.
func Parse(s string) (Parts, bool) {
	if len(s) <= len(Prefix)+tailLen || len(s) > len(Prefix)+maxEnv+tailLen || s[:len(Prefix)] != Prefix {
		return Parts{}, false
	}
	body, sum := s[:len(s)-sumLen], s[len(s)-sumLen:]
	if want := checksum(body); string(want[:]) != sum {
		return Parts{}, false
	}
	env, tail := body[len(Prefix):len(s)-tailLen], body[len(s)-tailLen:]
	name := tail[1 : 1+idLen]
	if tail[0] != '_' || tail[1+idLen] != '_' || !ValidEnv(env) || !inAlphabet(name) || !inAlphabet(tail[1+idLen+1:]) {
		return Parts{}, false
	}
	return Parts{name: name, body: body}, true
}

// checksum is the last eight characters of a key. It guards against typing
// errors, not against forgery.
func checksum(body string) [sumLen]byte {
	const digits = "0123456789abcdef"
	sum := crc32.ChecksumIEEE([]byte(body))
	var out [sumLen]byte
	for i := range out {
		out[i] = digits[sum>>(4*(sumLen-1-i))&15]
	}
	return out
}

func inAlphabet(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
		case c < 'a' || c > 'z' || c == 'i' || c == 'l' || c == 'o' || c == 'u':
			return false
		}
	}
	return true
}
