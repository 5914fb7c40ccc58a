package issuers

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// How an issuer is asked for its keys.
const (
	// fetchTimeout bounds one fetch.
	fetchTimeout = 5 * time.Second
	// refreshAfter is how old keys may get before they are fetched anew: the
	// longest that a key the issuer has withdrawn is still taken.
	refreshAfter = time.Hour
	// staleAfter is how old they may get while the issuer is away.
	staleAfter = 24 * time.Hour
	// pauseUnknown is between two fetches for a key that nobody knows: tokens
	// with invented keys must not become requests to the issuer.
	pauseUnknown = 30 * time.Second
	// pauseFailed is between two fetches that fail.
	pauseFailed = 5 * time.Second
	// maxKeys and maxDocument bound what an issuer may answer.
	maxKeys     = 100
	maxDocument = 1 << 20
)

// errAway means that an issuer's keys are not known and cannot be fetched now.
var errAway = errors.New("issuers: the keys cannot be fetched")

// keySet is the keys of one issuer.
type keySet struct {
	issuer string
	client *http.Client
	now    func() time.Time
	log    *slog.Logger
	life   context.Context //nolint:containedctx // a fetch is for all who wait, not for the one who came first
	work   *sync.WaitGroup

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // when keys were fetched
	tried   time.Time // when the last fetch ended
	err     error     // of the last fetch
	running chan struct{}
}

// find returns the keys that may have made a signature: none means that the
// issuer has no such key. The error is errAway, or that of ctx.
func (k *keySet) find(ctx context.Context, kid, alg string) ([]crypto.PublicKey, error) {
	found, wait, err := k.look(kid, alg) //nolint:contextcheck // others may wait for the same fetch: it lives in k.life
	if wait == nil {
		return found, err
	}
	select {
	case <-wait:
		k.mu.Lock()
		defer k.mu.Unlock()
		if found = k.match(kid, alg); len(found) == 0 && k.err != nil {
			return nil, fmt.Errorf("%w: %w", errAway, k.err)
		}
		return found, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// look finds keys at hand; wait is what to wait for where that may bring more.
func (k *keySet) look(kid, alg string) (found []crypto.PublicKey, wait <-chan struct{}, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := k.now().Sub(k.fetched)
	if age > staleAfter {
		k.keys = nil
	}
	found = k.match(kid, alg)
	if len(found) > 0 {
		if age > refreshAfter {
			k.fetch() // nobody waits for it
		}
		return found, nil, nil
	}
	if wait = k.fetch(); wait == nil && k.err != nil {
		err = fmt.Errorf("%w: %w", errAway, k.err)
	}
	return nil, wait, err
}

// match is the keys at hand for a key id; the caller holds mu.
func (k *keySet) match(kid, alg string) []crypto.PublicKey {
	var out []crypto.PublicKey
	for i := range k.keys {
		key := &k.keys[i]
		if kid == "" || key.KeyID == kid && (key.Algorithm == "" || key.Algorithm == alg) {
			out = append(out, key.Key)
		}
	}
	return out
}

// fetch starts a fetch, unless one runs, which it returns, or it is too soon:
// then it returns nil. The caller holds mu.
func (k *keySet) fetch() <-chan struct{} {
	pause := pauseUnknown
	if k.err != nil {
		pause = pauseFailed
	}
	switch {
	case k.running != nil:
		return k.running
	case !k.tried.IsZero() && k.now().Sub(k.tried) < pause, k.life.Err() != nil:
		return nil
	}
	done := make(chan struct{})
	k.running = done
	k.work.Go(func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(k.life, fetchTimeout)
		defer cancel()
		keys, err := k.ask(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.running, k.tried, k.err = nil, k.now(), err
		if err == nil {
			k.keys, k.fetched = keys, k.tried
			return
		}
		k.log.LogAttrs(ctx, slog.LevelWarn, "keys of an issuer not fetched", slog.String("issuer", k.issuer), slog.String("error", err.Error()))
	})
	return done
}

// ask asks the issuer where its keys are, and for them.
func (k *keySet) ask(ctx context.Context) ([]jose.JSONWebKey, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, k.client), k.issuer)
	if err != nil {
		return nil, fmt.Errorf("issuers: discover: %w", err)
	}
	var meta struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&meta); err != nil {
		return nil, fmt.Errorf("issuers: discover: %w", err)
	}
	if u, err := url.Parse(meta.Keys); err != nil || !secureURL(u) {
		return nil, errors.New("issuers: discover: jwks_uri is no https URL")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, meta.Keys, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("issuers: keys: %w", err)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("issuers: keys: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("issuers: keys: status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("issuers: keys: %w", err)
	}
	return decodeKeys(body)
}

// decodeKeys reads a JSON Web Key Set. Keys of a kind that cannot sign here are
// left out (RFC 7517, section 5); one that is broken spoils no other.
func decodeKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("issuers: keys: %w", err)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) != nil || !key.Valid() || key.Use != "" && key.Use != "sig" {
			continue
		}
		switch key.Key.(type) {
		case *rsa.PublicKey, *ecdsa.PublicKey:
			keys = append(keys, key)
		}
		if len(keys) == maxKeys {
			break
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("issuers: keys: none that can be used")
	}
	return keys, nil
}

// bounded is a transport whose answers have a bound.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxDocument), resp.Body}
	return resp, nil
}
