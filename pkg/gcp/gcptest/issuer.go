package gcptest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Issuer signs OIDC tokens, as Google does for Pub/Sub's pushes, with a key of
// its own.
type Issuer struct {
	Key *rsa.PrivateKey
	// KeysURL serves the public key as a JSON Web Key Set, by the id "k1".
	KeysURL string
}

// NewIssuer returns an issuer that ends with the test.
func NewIssuer(tb testing.TB) *Issuer {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	set := map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k1",
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(set); err != nil {
			tb.Error(err)
		}
	}))
	tb.Cleanup(srv.Close)
	return &Issuer{Key: key, KeysURL: srv.URL}
}

// Token is a token with these claims, signed as its header says: RS256 by "k1".
func (i *Issuer) Token(tb testing.TB, claims map[string]any) string {
	tb.Helper()
	return i.TokenBy(tb, "k1", claims)
}

// TokenBy names another key than the one that signed.
func (i *Issuer) TokenBy(tb testing.TB, keyID string, claims map[string]any) string {
	tb.Helper()
	signed := TokenPart(tb, map[string]any{"alg": "RS256", "kid": keyID, "typ": "JWT"}) + "." + TokenPart(tb, claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.Key, crypto.SHA256, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// TokenPart is the header or the claims as they stand in a token.
func TokenPart(tb testing.TB, v map[string]any) string {
	tb.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}
