package gcsblobs

import (
	"strings"
	"testing"
)

// FuzzParseKey: a file that is no key is refused without a word of it.
func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"client_email":"a@example.com","private_key":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}`,
		`{"client_email":"a@example.com","private_key":"secret"}`, `[]`, `{"client_email":1}`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		signer, err := parseKey(file)
		if (signer == nil) == (err == nil) {
			t.Fatalf("signer %v, error %v", signer, err)
		}
		if err != nil && len(file) > 40 && strings.Contains(err.Error(), string(file)) {
			t.Errorf("the error shows the file: %v", err)
		}
	})
}
