package pubsubbus

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"codexgateway.dev/pkg/errs"
)

// PushMode says how far a push is checked.
type PushMode string

const (
	// PushVerify checks everything about the token, its signature first. The zero
	// value means it.
	PushVerify PushMode = "verify"
	// PushIAM is for a Cloud Run service that lets nobody in without the invoker
	// role: Cloud Run has checked the signature and replaced it, so that only the
	// claims can be compared here.
	PushIAM PushMode = "iam"
	// PushOpen lets everybody in. Only with an emulator, which sends no tokens.
	PushOpen PushMode = "none"
)

// Google's key set and issuer of OIDC tokens
// (https://accounts.google.com/.well-known/openid-configuration).
const (
	googleKeys   = "https://www.googleapis.com/oauth2/v3/certs"
	googleIssuer = "https://accounts.google.com"
)

// keysTimeout bounds one fetch of the key set.
const keysTimeout = 10 * time.Second

// PushAuth is what the OIDC token of a push must say
// (https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions).
type PushAuth struct {
	Mode PushMode
	// Audience is the subscription's audience; required but for PushOpen.
	Audience string
	// ServiceAccount is the e-mail address of the account that pushes; required
	// but for PushOpen.
	ServiceAccount string
	// KeysURL is where the signers' keys are; empty: Google's.
	KeysURL string
}

// tokens checks the tokens of pushes.
type tokens struct {
	open     bool
	account  string
	verifier *oidc.IDTokenVerifier
}

func newTokens(ctx context.Context, a PushAuth, emulated bool, now func() time.Time) (tokens, error) {
	skipSignature := false
	switch a.Mode {
	case PushOpen:
		if !emulated {
			return tokens{}, fmt.Errorf("%w: mode none lets everybody in: it is for emulators only", errPushConfig)
		}
		return tokens{open: true}, nil
	case PushIAM:
		skipSignature = true
	case PushVerify, "":
	default:
		return tokens{}, fmt.Errorf("%w: unknown mode %q", errPushConfig, a.Mode)
	}
	if a.Audience == "" || a.ServiceAccount == "" {
		return tokens{}, fmt.Errorf("%w: audience and service account are required", errPushConfig)
	}
	if a.KeysURL == "" {
		a.KeysURL = googleKeys
	}
	// The key set keeps the context for its fetches; it starts nothing by itself.
	ctx = oidc.ClientContext(context.WithoutCancel(ctx), &http.Client{Timeout: keysTimeout})
	return tokens{account: a.ServiceAccount, verifier: oidc.NewVerifier(googleIssuer, oidc.NewRemoteKeySet(ctx, a.KeysURL), &oidc.Config{
		ClientID: a.Audience, SupportedSigningAlgs: []string{oidc.RS256}, Now: now, InsecureSkipSignatureCheck: skipSignature,
	})}, nil
}

var errAccount = errors.New("token of another account")

// check returns Unauthenticated for a token that is missing or not valid here,
// PermissionDenied for a valid one of somebody else.
func (t *tokens) check(req *http.Request) error {
	if t.open {
		return nil
	}
	scheme, raw, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return errs.New(errs.Unauthenticated, "A bearer token is required.")
	}
	ctx, cancel := context.WithTimeout(req.Context(), keysTimeout)
	defer cancel()
	token, err := t.verifier.Verify(ctx, raw)
	if err != nil {
		return errs.Wrap(errs.Unauthenticated, "The token is not valid here.", err)
	}
	var claims struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	if err := token.Claims(&claims); err != nil {
		return errs.Wrap(errs.Unauthenticated, "The token is not valid here.", err)
	}
	if !claims.Verified || subtle.ConstantTimeCompare([]byte(claims.Email), []byte(t.account)) != 1 {
		return errs.Wrap(errs.PermissionDenied, "This account may not push here.", errAccount)
	}
	return nil
}
