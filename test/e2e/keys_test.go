package e2e_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/client"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/secret"
)

// keyed is a client of the last edge with a key of a tenant.
func keyed(t *testing.T, g *gateway, key string) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{URL: g.urls[len(g.urls)-1], Key: secret.NewValue(key), Timeout: 60 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A tenant's key from its making to its end: what is open with it ends with it,
// wherever that is.
func TestAKeyOfATenantFromCreationToRevocation(t *testing.T) {
	t.Parallel()
	g := shared(t)
	dir := t.TempDir()
	const tenant = "keys-e2e"
	create := func() apiv1.NewKey {
		t.Helper()
		p := codexgw(t, g, dir, "keys", "create", "--tenant", tenant, "--name", "ci", "--json")
		p.want(t, exitOK, "key_")
		var made apiv1.NewKey
		if err := json.Unmarshal([]byte(p.stdout), &made); err != nil {
			t.Fatal(err)
		}
		return made
	}
	first, second := create(), create()
	c := keyed(t, g, first.Secret)
	accepted, err := c.Prompt(t.Context(), apiv1.PromptParams{Prompt: "mock: hang"})
	if err != nil {
		t.Fatal(err)
	}
	jobID := accepted.JobID()
	if _, err := g.GetJob(t.Context(), jobID); !errors.Is(err, &client.Error{Code: errs.NotFound}) {
		t.Errorf("another tenant: %v, want it not found", err)
	}
	seen, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		_, err := c.Watch(t.Context(), jobID, 0, func(apiv1.Event) error {
			select {
			case seen <- struct{}{}:
			default:
			}
			return nil
		})
		ended <- err
	}()
	<-seen
	p := codexgw(t, g, dir, "keys", "rotate", first.KeyID, "--tenant", tenant, "--overlap", "1h")
	p.want(t, exitOK, "cgw_")
	rotated := keyed(t, g, strings.TrimSpace(p.stdout))
	for what, other := range map[string]*client.Client{"the old secret": c, "the new secret": rotated} {
		if _, err := other.Ping(t.Context()); err != nil {
			t.Errorf("%s within the overlap: %v", what, err)
		}
	}
	p = codexgw(t, g, dir, "keys", "revoke", first.KeyID, "--tenant", tenant)
	p.want(t, exitOK, first.KeyID, "revoked")
	var closed *client.CloseError
	if err := <-ended; !errors.As(err, &closed) || closed.Code != errs.CloseKeyRevoked {
		t.Errorf("the open WebSocket ended with %v, want %d", err, errs.CloseKeyRevoked)
	}
	for what, other := range map[string]*client.Client{"the old secret": c, "the new secret": rotated} {
		if _, err := other.Ping(t.Context()); !errors.Is(err, &client.Error{Code: errs.Unauthenticated}) {
			t.Errorf("%s of the revoked key: %v", what, err)
		}
	}
	if _, err := keyed(t, g, second.Secret).CancelJob(t.Context(), jobID, "done"); err != nil {
		t.Errorf("the tenant's other key: %v", err)
	}
	p = codexgw(t, g, dir, "keys", "list", "--tenant", tenant)
	p.want(t, exitOK, first.KeyID, second.KeyID, "revoked", "active")
	if strings.Contains(p.stdout, "cgw_") {
		t.Error("the list shows a key")
	}
}
