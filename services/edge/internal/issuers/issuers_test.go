package issuers_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/issuers"
)

const audience = "https://gw.example"

// world is one trusted issuer, its key and the clock of the gateway.
type world struct {
	*clock

	is  *issuer
	rsa jose.JSONWebKey
	set *issuers.Set
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: &clock{t: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}, is: newIssuer(t), rsa: key(t, "k1", jose.RS256)}
	w.is.rotate(w.rsa)
	rules, err := issuers.Parse(`[
		{"issuer":"` + w.is.url + `","audience":"` + audience + `","tenant_claim":"repository_owner","tenants":{"acme":"acme-ci"},
		 "require":{"ref":["refs/heads/main","refs/heads/release"],"protected":true},"scopes":["jobs:write"],"rate_limit":7},
		{"issuer":"` + w.is.url + `","audience":"ops","tenant":"ops","require":{"email":"ops@acme.example"}}]`)
	if err != nil {
		t.Fatal(err)
	}
	w.set = issuers.New(rules, w.now, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = w.set.Close(t.Context()) })
	return w
}

// claims are good ones, changed; nil removes one.
func (w *world) claims(change map[string]any) map[string]any {
	c := map[string]any{
		"iss": w.is.url, "aud": audience, "sub": "repo:acme/app", "iat": w.now().Unix(), "nbf": w.now().Unix(),
		"exp": w.now().Add(5 * time.Minute).Unix(), "repository_owner": "acme", "ref": "refs/heads/main", "protected": true,
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (w *world) identify(t *testing.T, token string) (auth.Principal, error) {
	t.Helper()
	return w.set.Identify(t.Context(), auth.Credential{Scheme: auth.Bearer, Token: secret.NewValue(token)})
}

func TestARuleLetsAnIdentityIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, err := w.identify(t, sign(t, w.rsa, w.claims(nil)))
	if err != nil {
		t.Fatal(err)
	}
	want := auth.Principal{
		Tenant: "acme-ci", KeyID: p.KeyID, Scopes: []apikey.Scope{apikey.JobsWrite}, RateLimit: 7,
		Expires: w.now().Add(5*time.Minute + issuers.Leeway).Truncate(time.Second),
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("principal (-want +got):\n%s", diff)
	}
	again, err := w.identify(t, sign(t, w.rsa, w.claims(map[string]any{"ref": "refs/heads/release", "jti": "2"})))
	if err != nil || again.KeyID != p.KeyID || !strings.HasPrefix(p.KeyID, "oidc_") || len(p.KeyID) > 32 {
		t.Errorf("%q, then %q, %v", p.KeyID, again.KeyID, err)
	}
	ops, err := w.identify(t, sign(t, w.rsa, w.claims(map[string]any{"aud": []string{"ops"}, "email": "ops@acme.example"})))
	if err != nil || ops.Tenant != "ops" || ops.May(apikey.KeysAdmin) || !ops.May(apikey.JobsRead) {
		t.Errorf("%+v, %v", ops, err)
	}
}

func TestTokensThatProveNothingAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ec, other := key(t, "k1", jose.ES256), key(t, "k1", jose.RS256)
	good := sign(t, w.rsa, w.claims(nil))
	parts := strings.Split(good, ".")
	public, err := x509.MarshalPKIXPublicKey(w.rsa.Public().Key)
	if err != nil {
		t.Fatal(err)
	}
	confused := jose.SigningKey{Algorithm: jose.HS256, Key: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"k1"}`))
	with := func(change map[string]any) string { return sign(t, w.rsa, w.claims(change)) }
	for _, tc := range []struct {
		name, token string
		code        errs.Code
	}{
		{"no signature", none + "." + parts[1] + ".", errs.Unauthenticated},
		{"no signature, but one there", none + "." + parts[1] + "." + parts[2], errs.Unauthenticated},
		{"a public key as a shared one", signAs(t, confused, w.claims(nil)), errs.Unauthenticated},
		{"PSS", signAs(t, jose.SigningKey{Algorithm: jose.PS256, Key: w.rsa.Key}, w.claims(nil)), errs.Unauthenticated},
		{"another key of the same name", sign(t, other, w.claims(nil)), errs.Unauthenticated},
		{"another kind of key of the same name", sign(t, ec, w.claims(nil)), errs.Unauthenticated},
		{"a signature of something else", parts[0] + "." + strings.Split(with(map[string]any{"sub": "x"}), ".")[1] + "." + parts[2], errs.Unauthenticated},
		{"an issuer nobody trusts", with(map[string]any{"iss": "https://evil.example"}), errs.Unauthenticated},
		{"no issuer", with(map[string]any{"iss": nil}), errs.Unauthenticated},
		{"another audience", with(map[string]any{"aud": "https://other.example"}), errs.Unauthenticated},
		{"a prefix of the audience", with(map[string]any{"aud": audience + "/"}), errs.Unauthenticated},
		{"two audiences", with(map[string]any{"aud": []string{audience, "https://other.example"}}), errs.Unauthenticated},
		{"no audience", with(map[string]any{"aud": nil}), errs.Unauthenticated},
		{"expired", with(map[string]any{"exp": w.now().Add(-issuers.Leeway - time.Second).Unix()}), errs.Unauthenticated},
		{"no end", with(map[string]any{"exp": nil}), errs.Unauthenticated},
		{"not yet", with(map[string]any{"nbf": w.now().Add(issuers.Leeway + 2*time.Second).Unix()}), errs.Unauthenticated},
		{"from the future", with(map[string]any{"iat": w.now().Add(issuers.Leeway + 2*time.Second).Unix()}), errs.Unauthenticated},
		{"no subject", with(map[string]any{"sub": nil}), errs.Unauthenticated},
		{"too long", with(map[string]any{"x": strings.Repeat("x", issuers.MaxToken)}), errs.Unauthenticated},
		{"another owner", with(map[string]any{"repository_owner": "evil"}), errs.PermissionDenied},
		{"another case", with(map[string]any{"repository_owner": "ACME"}), errs.PermissionDenied},
		{"no owner", with(map[string]any{"repository_owner": nil}), errs.PermissionDenied},
		{"a list of owners", with(map[string]any{"repository_owner": []string{"acme"}}), errs.PermissionDenied},
		{"another branch", with(map[string]any{"ref": "refs/heads/evil"}), errs.PermissionDenied},
		{"true as text", with(map[string]any{"protected": "true"}), errs.PermissionDenied},
		{"a claim of another type", with(map[string]any{"protected": map[string]any{}}), errs.PermissionDenied},
		{"the claims of another rule", with(map[string]any{"aud": "ops"}), errs.PermissionDenied},
	} {
		p, err := w.identify(t, tc.token)
		if errs.CodeOf(err) != tc.code || err == nil {
			t.Errorf("%s: %+v, %v; want %s", tc.name, p, err, tc.code)
		} else if strings.Contains(err.Error(), parts[1]) {
			t.Errorf("%s: the error shows the token", tc.name)
		}
	}
	for _, token := range []string{"cgw_live_abc_secret", "a.b.c", "eyJ", ""} {
		if _, err := w.identify(t, token); !errors.Is(err, auth.ErrNotMine) {
			t.Errorf("%q: %v, want it left to others", token, err)
		}
	}
	for _, change := range []map[string]any{{"exp": w.now().Add(-issuers.Leeway + 2*time.Second).Unix()}, {"nbf": w.now().Add(issuers.Leeway - 2*time.Second).Unix()}} {
		if _, err := w.identify(t, with(change)); err != nil {
			t.Errorf("within the leeway: %v", err)
		}
	}
}

func TestAKeyThatIsRotatedInIsFetched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.identify(t, sign(t, w.rsa, w.claims(nil))); err != nil {
		t.Fatal(err)
	}
	ec := key(t, "k2", jose.ES256)
	w.is.rotate(ec)
	w.pass(31 * time.Second)
	if _, err := w.identify(t, sign(t, ec, w.claims(nil))); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if _, err := w.identify(t, sign(t, w.rsa, w.claims(nil))); errs.CodeOf(err) != errs.Unauthenticated {
		t.Errorf("the key that is gone: %v", err)
	}
}

// A key that the issuer has withdrawn is not taken for ever, though nobody shows
// a new one.
func TestAWithdrawnKeyIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.is.rotate(w.rsa, key(t, "k2", jose.ES256))
	if _, err := w.identify(t, sign(t, w.rsa, w.claims(nil))); err != nil {
		t.Fatal(err)
	}
	w.is.rotate(key(t, "k3", jose.ES256))
	w.pass(time.Hour + time.Second)
	for err := error(nil); err == nil; { // the refresh is not waited for
		_, err = w.identify(t, sign(t, w.rsa, w.claims(nil)))
		if err != nil && errs.CodeOf(err) != errs.Unauthenticated {
			t.Errorf("%v", err)
		}
	}
}

func TestAFloodOfInventedKeysIsNoFloodOfQuestions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.identify(t, sign(t, w.rsa, w.claims(nil))); err != nil {
		t.Fatal(err)
	}
	invented := w.rsa
	var wg sync.WaitGroup
	for i := range 100 {
		invented.KeyID = "invented-" + strings.Repeat("x", i)
		token := sign(t, invented, w.claims(nil))
		wg.Go(func() {
			if _, err := w.identify(t, token); errs.CodeOf(err) != errs.Unauthenticated {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if n := w.is.fetches.Load(); n != 1 {
		t.Errorf("%d fetches within 30 s, want 1", n)
	}
	w.pass(31 * time.Second)
	for range 10 {
		_, _ = w.identify(t, sign(t, invented, w.claims(nil)))
	}
	if n := w.is.fetches.Load(); n != 2 {
		t.Errorf("%d fetches within 62 s, want 2", n)
	}
}

func TestAnIssuerThatIsAwayIsNoVerdict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.is.down.Store(true)
	token := sign(t, w.rsa, w.claims(nil))
	for range 3 {
		if _, err := w.identify(t, token); errs.CodeOf(err) != errs.Overloaded {
			t.Errorf("%v, want overloaded", err)
		}
	}
	w.is.down.Store(false)
	w.pass(6 * time.Second)
	if _, err := w.identify(t, token); err != nil {
		t.Errorf("back: %v", err)
	}
	// Known keys are good for a day.
	w.is.down.Store(true)
	for _, step := range []struct {
		pass time.Duration
		code errs.Code
	}{{2 * time.Hour, ""}, {20 * time.Hour, ""}, {3 * time.Hour, errs.Overloaded}} {
		w.pass(step.pass)
		_, err := w.identify(t, sign(t, w.rsa, w.claims(nil)))
		if step.code == "" && err != nil || step.code != "" && errs.CodeOf(err) != step.code {
			t.Errorf("%s later: %v, want %q", step.pass, err, step.code)
		}
	}
}
