package issuers

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/edge/internal/auth"
)

const (
	// MaxToken is the longest token that is looked at, in bytes.
	MaxToken = 8 << 10
	// Leeway is how far an issuer's clock may be from the gateway's.
	Leeway = 30 * time.Second
)

// algorithms are those that a token may be signed with: none whose key both
// sides know, and not none.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512,
}

// Set is an [auth.Method] that knows tokens of trusted issuers.
type Set struct {
	rules []Rule
	keys  map[string]*keySet
	now   func() time.Time
	stop  context.CancelFunc
	work  sync.WaitGroup
}

var _ auth.Method = (*Set)(nil)

// New returns a set of rules, which [Parse] has checked. It asks no issuer
// before the first token of that issuer comes.
func New(rules []Rule, now func() time.Time, log *slog.Logger) *Set {
	s := &Set{rules: rules, keys: make(map[string]*keySet), now: now}
	var life context.Context
	life, s.stop = context.WithCancel(context.Background())
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true} // fetches are far apart
	client := &http.Client{
		Transport: bounded{transport}, Timeout: fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for i := range rules {
		issuer := rules[i].Issuer
		if s.keys[issuer] == nil {
			s.keys[issuer] = &keySet{issuer: issuer, client: client, now: now, log: log, life: life, work: &s.work}
		}
	}
	return s
}

// Close ends what runs. Identify must not be called after it.
func (s *Set) Close(context.Context) error {
	s.stop()
	s.work.Wait()
	return nil
}

// Identify implements [auth.Method].
func (s *Set) Identify(ctx context.Context, c auth.Credential) (auth.Principal, error) {
	raw := c.Token.Reveal()
	if c.Scheme != auth.Bearer || strings.Count(raw, ".") != 2 || !strings.HasPrefix(raw, "eyJ") {
		return auth.Principal{}, auth.ErrNotMine
	}
	if len(raw) > MaxToken {
		return auth.Principal{}, errs.New(errs.Unauthenticated, "The token is too long.")
	}
	issuer := issuerOf(raw)
	keys := s.keys[issuer]
	if keys == nil {
		return auth.Principal{}, errs.New(errs.Unauthenticated, "The token's issuer is not trusted here.")
	}
	token, err := s.verify(ctx, keys, raw)
	if err != nil {
		return auth.Principal{}, err
	}
	return s.admit(token)
}

// issuerOf is who a token says it is from. Nothing is proven yet.
func issuerOf(raw string) string {
	_, rest, _ := strings.Cut(raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(data, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

// notValid is the answer to a token that proves nothing.
func notValid(cause error) error {
	return errs.Wrap(errs.Unauthenticated, "The token is not valid here.", cause)
}

// verify checks the signature and the time of a token.
func (s *Set) verify(ctx context.Context, keys *keySet, raw string) (*oidc.IDToken, error) {
	jws, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil {
		return nil, notValid(err)
	}
	head := jws.Signatures[0].Header
	found, err := keys.find(ctx, head.KeyID, head.Algorithm)
	switch {
	case errors.Is(err, errAway):
		return nil, errs.Wrap(errs.Overloaded, "The token's issuer cannot be reached now.", err)
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, notValid(errors.New("issuers: unknown key"))
	}
	verifier := oidc.NewVerifier(keys.issuer, &oidc.StaticKeySet{PublicKeys: found}, &oidc.Config{
		SkipClientIDCheck:    true, // each rule has its own audience
		SupportedSigningAlgs: []string{head.Algorithm},
		Now:                  func() time.Time { return s.now().Add(-Leeway) },
	})
	token, err := verifier.Verify(ctx, raw)
	if expired, ok := errors.AsType[*oidc.TokenExpiredError](err); ok {
		return nil, errs.Wrap(errs.Unauthenticated, "The token has expired.", expired)
	}
	if err != nil {
		return nil, notValid(err)
	}
	return token, nil
}

// admit finds the rule that lets the identity of a token in.
func (s *Set) admit(token *oidc.IDToken) (auth.Principal, error) {
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return auth.Principal{}, notValid(err)
	}
	latest := s.now().Add(Leeway)
	if token.Subject == "" || after(claims["nbf"], latest) || after(claims["iat"], latest) {
		return auth.Principal{}, notValid(errors.New("issuers: no subject, or not valid yet"))
	}
	meant := false
	for i := range s.rules {
		r := &s.rules[i]
		// One audience and no other: a token for two could be shown here by the
		// other one.
		if r.Issuer != token.Issuer || len(token.Audience) != 1 || token.Audience[0] != r.Audience {
			continue
		}
		meant = true
		if tenant, ok := r.tenantOf(claims); ok {
			return auth.Principal{
				Tenant: tenant, KeyID: identity(token.Issuer, token.Subject), Scopes: slices.Clone(r.Scopes),
				RateLimit: r.RateLimit, Expires: token.Expiry.Add(Leeway),
			}, nil
		}
	}
	if !meant {
		return auth.Principal{}, errs.New(errs.Unauthenticated, "The token is for another audience.")
	}
	return auth.Principal{}, errs.New(errs.PermissionDenied, "No rule of the gateway lets this identity in.")
}

// after reports whether a time claim is later than t, or no time.
func after(claim any, t time.Time) bool {
	if claim == nil {
		return false
	}
	seconds, ok := claim.(float64)
	return !ok || seconds > float64(t.Unix())
}

// identity names who a token is about, in logs and limits: the same for every
// token of the same subject, and short.
func identity(issuer, subject string) string {
	sum := sha256.Sum256([]byte(issuer + "\x00" + subject))
	return auth.IssuedPrefix + hex.EncodeToString(sum[:10])
}
