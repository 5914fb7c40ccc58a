package pubsubbus_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/gcp/pubsubbus"
)

const (
	pushAudience = "https://worker.example/push"
	pushAccount  = "pusher@project.iam.gserviceaccount.com"
)

// tokenNow is the clock of the receiver.
var tokenNow = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

func goodClaims() map[string]any {
	return map[string]any{
		"iss": "https://accounts.google.com", "aud": pushAudience, "email": pushAccount, "email_verified": true,
		"sub": "1", "iat": tokenNow.Unix(), "exp": tokenNow.Add(time.Hour).Unix(),
	}
}

func claimsWith(key string, value any) map[string]any {
	c := maps.Clone(goodClaims())
	if value == nil {
		delete(c, key)
	} else {
		c[key] = value
	}
	return c
}

// pushTopology is one pushed subscription with a dead letter.
func pushTopology() ([]events.Topic, []events.Subscription) {
	return []events.Topic{{Name: events.TopicJobCommands}}, []events.Subscription{{
		Name: pushed, Topic: events.TopicJobCommands, Mode: events.Shared, DeadLetter: pushed + ".dlq",
		AckDeadline: 10 * time.Second, MaxExtension: 10 * time.Second, MinBackoff: time.Second, MaxBackoff: 2 * time.Second,
	}}
}

const pushed = "job-commands.pushed"

// offline is a driver that nobody serves: nothing of a push needs Pub/Sub but
// dead letters.
func offline(t *testing.T, push *pubsubbus.Push) *pubsubbus.Driver {
	t.Helper()
	topics, subs := pushTopology()
	return openDriver(t, pubsubbus.Config{
		Emulator: "127.0.0.1:1", Topics: topics, Subscriptions: subs, Push: push, Now: func() time.Time { return tokenNow },
	})
}

func TestPushTokens(t *testing.T) {
	t.Parallel()
	is := gcptest.NewIssuer(t)
	public, err := x509.MarshalPKIXPublicKey(&is.Key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	confused := gcptest.TokenPart(t, map[string]any{"alg": "HS256", "kid": "k1"}) + "." + gcptest.TokenPart(t, goodClaims())
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	mac.Write([]byte(confused))
	confused += "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	good := is.Token(t, goodClaims())
	const removed = ".SIGNATURE_REMOVED_BY_GOOGLE"
	unsigned := good[:strings.LastIndexByte(good, '.')] + removed

	// want is the status in mode verify and in mode iam, without a receiver: a
	// token that passes gets 503.
	const in, no, forbidden = http.StatusServiceUnavailable, http.StatusUnauthorized, http.StatusForbidden
	cases := map[string]struct {
		header      string
		verify, iam int
	}{
		"good":                      {"Bearer " + good, in, in},
		"issuer without scheme":     {"Bearer " + is.Token(t, claimsWith("iss", "accounts.google.com")), in, in},
		"none":                      {"", no, no},
		"another scheme":            {"Basic " + good, no, no},
		"no token":                  {"Bearer ", no, no},
		"garbage":                   {"Bearer a.b.c", no, no},
		"wrong audience":            {"Bearer " + is.Token(t, claimsWith("aud", "https://other.example")), no, no},
		"no audience":               {"Bearer " + is.Token(t, claimsWith("aud", nil)), no, no},
		"wrong account":             {"Bearer " + is.Token(t, claimsWith("email", "me@evil.example")), forbidden, forbidden},
		"no account":                {"Bearer " + is.Token(t, claimsWith("email", nil)), forbidden, forbidden},
		"unverified account":        {"Bearer " + is.Token(t, claimsWith("email_verified", false)), forbidden, forbidden},
		"wrong issuer":              {"Bearer " + is.Token(t, claimsWith("iss", "https://accounts.google.com.evil")), no, no},
		"expired":                   {"Bearer " + is.Token(t, claimsWith("exp", tokenNow.Add(-time.Second).Unix())), no, no},
		"without expiry":            {"Bearer " + is.Token(t, claimsWith("exp", nil)), no, no},
		"not yet valid":             {"Bearer " + is.Token(t, claimsWith("nbf", tokenNow.Add(time.Hour).Unix())), no, no},
		"of an unknown key":         {"Bearer " + is.TokenBy(t, "k2", goodClaims()), no, in},
		"signed by somebody else":   {"Bearer " + gcptest.NewIssuer(t).Token(t, goodClaims()), no, in},
		"algorithm none":            {"Bearer " + gcptest.TokenPart(t, map[string]any{"alg": "none"}) + "." + gcptest.TokenPart(t, goodClaims()) + ".", no, in},
		"HS256 with the public key": {"Bearer " + confused, no, no},
		"signature removed":         {"Bearer " + unsigned, no, in},
	}
	for name, mode := range map[string]pubsubbus.PushMode{"verify": "", "iam": pubsubbus.PushIAM} {
		push := &pubsubbus.Push{Subscriptions: []string{pushed}, Auth: pubsubbus.PushAuth{
			Mode: mode, Audience: pushAudience, ServiceAccount: pushAccount, KeysURL: is.KeysURL,
		}}
		offline(t, push)
		for what, c := range cases {
			want := c.verify
			if mode == pubsubbus.PushIAM {
				want = c.iam
			}
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/push/"+pushed, strings.NewReader("{}"))
			if c.header != "" {
				req.Header.Set("Authorization", c.header)
			}
			w := httptest.NewRecorder()
			push.ServeHTTP(w, req)
			if w.Code != want {
				t.Errorf("%s, token %s: status %d, want %d", name, what, w.Code, want)
			}
			if w.Header().Get("Content-Type") != "application/problem+json" || (w.Code == no) != (w.Header().Get("WWW-Authenticate") != "") {
				t.Errorf("%s, token %s: headers %v", name, what, w.Header())
			}
		}
	}
}

func TestOpenRefusesAnUnsafePush(t *testing.T) {
	t.Parallel()
	topics, subs := pushTopology()
	full := pubsubbus.PushAuth{Audience: pushAudience, ServiceAccount: pushAccount}
	for name, c := range map[string]struct {
		emulator string
		push     *pubsubbus.Push
		want     error
	}{
		"open without an emulator": {"", &pubsubbus.Push{Auth: pubsubbus.PushAuth{Mode: pubsubbus.PushOpen}}, nil},
		"no audience":              {"127.0.0.1:1", &pubsubbus.Push{Auth: pubsubbus.PushAuth{ServiceAccount: pushAccount}}, nil},
		"no account":               {"127.0.0.1:1", &pubsubbus.Push{Auth: pubsubbus.PushAuth{Mode: pubsubbus.PushIAM, Audience: pushAudience}}, nil},
		"unknown mode":             {"127.0.0.1:1", &pubsubbus.Push{Auth: pubsubbus.PushAuth{Mode: "off", Audience: "a", ServiceAccount: "b"}}, nil},
		"unknown subscription":     {"127.0.0.1:1", &pubsubbus.Push{Auth: full, Subscriptions: []string{"no.such"}}, bus.ErrUnknownTopic},
	} {
		_, err := pubsubbus.Open(t.Context(), pubsubbus.Config{Project: "p", Emulator: c.emulator, Topics: topics, Subscriptions: subs, Push: c.push})
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
	}
}
