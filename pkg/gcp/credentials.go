package gcp

import (
	"context"
	"fmt"
	"sync"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
)

// defaultCredentials are Application Default Credentials that are looked for at
// the first request. Looking may ask the metadata server: opening must not, and
// a machine that has none yet must not fail for good.
func defaultCredentials() *auth.Credentials {
	return auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: &lateTokens{}})
}

// lateTokens gives the tokens of the default credentials.
type lateTokens struct {
	mu    sync.Mutex
	found *auth.Credentials
}

// Token implements auth.TokenProvider.
func (l *lateTokens) Token(ctx context.Context) (*auth.Token, error) {
	found, err := l.find()
	if err != nil {
		return nil, err
	}
	return found.Token(ctx)
}

func (l *lateTokens) find() (*auth.Credentials, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.found != nil {
		return l.found, nil
	}
	found, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: []string{"https://www.googleapis.com/auth/cloud-platform"}})
	if err != nil {
		return nil, fmt.Errorf("gcp: %w", err)
	}
	l.found = found
	return found, nil
}
