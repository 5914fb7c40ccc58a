package id

import (
	"crypto/rand"
	"strings"
)

// Kind is the prefix of an id.
type Kind string

// The kinds of ids.
const (
	Job          Kind = "job"
	Conversation Kind = "conv"
	File         Kind = "file"
	Subscription Kind = "sub"
	Event        Kind = "evt"
	Request      Kind = "req"
	Worker       Kind = "wrk"
	Claim        Kind = "clm"
	Turn         Kind = "turn"
	Instance     Kind = "inst"
)

// alphabet is base 32 without padding, lower case: safe in URLs, file names,
// DNS labels and document ids.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// New returns a random id, "job_" and 26 characters (130 bits). It is never
// sequential: nobody can guess a neighbour's.
func New(kind Kind) string {
	var raw [26]byte
	if _, err := rand.Read(raw[:]); err != nil {
		panic(err) // crypto/rand never fails on supported systems (Go 1.24 release notes)
	}
	for i, b := range raw {
		raw[i] = alphabet[b&31]
	}
	return string(kind) + "_" + string(raw[:])
}

// Is reports whether s has the form of an id of the kind.
func Is(kind Kind, s string) bool {
	rest, ok := strings.CutPrefix(s, string(kind)+"_")
	if !ok || len(rest) != 26 {
		return false
	}
	for i := range len(rest) {
		if strings.IndexByte(alphabet, rest[i]) < 0 {
			return false
		}
	}
	return true
}
