package secret

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Errors of [Secrets] and of drivers, wrapped.
var (
	// ErrNotFound means there is no secret of that name.
	ErrNotFound = errors.New("secret: not found")
	// ErrInvalidName means the name is none: see [ValidName].
	ErrInvalidName = errors.New("secret: invalid name")
	// ErrClosed means the secrets were closed.
	ErrClosed = errors.New("secret: closed")
	// ErrUnavailable means that the store of the secrets is away or too slow: a
	// later call may work.
	ErrUnavailable = errors.New("secret: unavailable")
)

// MaxBytes is the most a secret may have (Secret Manager: 64 KiB).
const MaxBytes = 64 << 10

// ValidName reports whether name can name a secret on every platform: 1 to 128
// lower-case letters, digits and "-", beginning and ending with none. Without
// "_", since "a-b" and "a_b" would be one environment variable; without "." and
// "/", since a name is also a file name.
func ValidName(name string) bool {
	if name == "" || len(name) > 128 || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// redacted is what every printing of a Value shows.
const redacted = "[redacted]"

// Value is a secret. It prints as [redacted] through fmt, slog, JSON and text,
// also deep inside other values; Reveal is the one way to the bytes.
type Value struct {
	// A Value cannot be compared with ==, which would compare addresses: see Equal.
	_ [0]func()
	// v is a pointer because fmt prints unexported fields of foreign structs
	// without asking their methods: it then shows an address, not the secret.
	v *string
}

// NewValue wraps a secret.
func NewValue(v string) Value { return Value{v: &v} }

// Reveal returns the secret itself.
func (v Value) Reveal() string {
	if v.v == nil {
		return ""
	}
	return *v.v
}

// Empty reports whether there is no secret.
func (v Value) Empty() bool { return v.Reveal() == "" }

// Equal compares two secrets in a time that does not depend on their content.
func (v Value) Equal(o Value) bool {
	return subtle.ConstantTimeCompare([]byte(v.Reveal()), []byte(o.Reveal())) == 1
}

// Format implements fmt.Formatter: every verb, also those that fmt would not
// ask String for (%d prints the fields of a struct).
func (Value) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, redacted) // fmt has no way to take the error
}

// String implements fmt.Stringer.
func (Value) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Value) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText keeps the secret out of JSON and every text encoder.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Driver is what a platform implements.
type Driver interface {
	// Latest returns the newest version of a named secret, or ErrNotFound. An
	// empty secret is not found. It never caches: [Secrets] does.
	Latest(ctx context.Context, name string) (Value, error)
	Close() error
}
