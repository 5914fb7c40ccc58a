package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"codexgateway.dev/services/edge"
)

// TestATokenOfATrustedIssuerIsAKey: calls, streams and tickets are those of the
// tenant that the rule names, and end with the token.
func TestATokenOfATrustedIssuerIsAKey(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := jose.JSONWebKey{Key: private, KeyID: "k1", Algorithm: string(jose.ES256), Use: "sig"}
	var is *httptest.Server
	is = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var v any = map[string]string{"issuer": is.URL, "jwks_uri": is.URL + "/keys"}
		if r.URL.Path == "/keys" {
			v = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k.Public()}}
		}
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(is.Close)
	g := start(t, func(c *edge.Config) {
		c.OIDCIssuers = `[{"issuer":"` + is.URL + `","audience":"gw","tenant":"acme","require":{"repository_owner":"acme"}}]`
	})
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token := func(owner string, life time.Duration) map[string]string {
		claims := jwt.Claims{Issuer: is.URL, Subject: "repo:acme/app", Audience: jwt.Audience{"gw"}, Expiry: jwt.NewNumericDate(time.Now().Add(life))}
		raw, err := jwt.Signed(signer).Claims(claims).Claims(map[string]any{"repository_owner": owner}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"X-API-Key": "", "Authorization": "Bearer " + raw}
	}
	prompt := `{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":{"prompt":"x","session_id":"s"}}`
	if r := g.request(http.MethodPost, "/jsonrpc", token("acme", time.Minute), prompt); r.status != http.StatusOK || !strings.Contains(string(r.body), "job_") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if jobs := g.jobs(); len(jobs) != 0 {
		t.Errorf("%d jobs of another tenant", len(jobs))
	}
	if r := g.request(http.MethodPost, "/v1/tickets", token("acme", time.Minute), `{"scopes":["keys:admin"]}`); r.status != http.StatusBadRequest {
		t.Errorf("a ticket for more: %d %s", r.status, r.body)
	}
	for owner, want := range map[string]int{"evil": http.StatusForbidden, "": http.StatusForbidden} {
		if r := g.request(http.MethodPost, "/jsonrpc", token(owner, time.Minute), prompt); r.status != want {
			t.Errorf("%q: %d, want %d", owner, r.status, want)
		}
	}
	g.status(http.StatusForbidden, http.MethodPost, "/v1/tickets", token("evil", time.Minute), "")
	if r := g.request(http.MethodPost, "/jsonrpc", token("acme", -time.Hour), prompt); r.status != http.StatusUnauthorized {
		t.Errorf("expired: %d", r.status)
	}
}
