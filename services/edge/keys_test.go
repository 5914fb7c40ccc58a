package edge_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge"
)

// as calls a method with a key.
func (g *gateway) as(key, method string, params any) (int, answer) {
	g.t.Helper()
	body, err := jsonrpc.EncodeCall(jsonrpc.IntID(1), method, params)
	if err != nil {
		g.t.Fatal(err)
	}
	r := g.request(http.MethodPost, "/jsonrpc", map[string]string{"X-API-Key": key}, string(body))
	return r.status, decode[answer](g.t, r.body)
}

// ping is the status that a key gets.
func (g *gateway) ping(key string) int {
	g.t.Helper()
	status, _ := g.as(key, apiv1.MethodSystemPing, nil)
	return status
}

// dialKey opens a WebSocket with a key.
func (g *gateway) dialKey(key string) *socket {
	g.t.Helper()
	ws, _, err := websocket.Dial(g.t.Context(), g.url+"/ws", &websocket.DialOptions{ //nolint:bodyclose // nil after an upgrade
		HTTPClient: g.http, HTTPHeader: http.Header{"X-Api-Key": {key}},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = ws.CloseNow() })
	return &socket{t: g.t, ws: ws}
}

func TestARevokedKeyIsOutOnEveryEdge(t *testing.T) {
	t.Parallel()
	here := start(t)
	there := startOn(t, here.Env)
	made := call[apiv1.NewKey](here, apiv1.MethodKeyCreate, apiv1.KeyCreateParams{Name: "ci", Tenant: "acme"})
	if here.ping(made.Secret) != http.StatusOK || there.ping(made.Secret) != http.StatusOK {
		t.Fatal("the new key is not taken")
	}
	j := here.Submit(t, job.Submission{Tenant: "acme"})
	ws := there.dialKey(made.Secret)
	ws.subscribe(j.ID, 1)
	call[apiv1.Key](here, apiv1.MethodKeyRevoke, apiv1.KeyRef{KeyID: made.KeyID, Tenant: "acme"})
	if status := here.ping(made.Secret); status != http.StatusUnauthorized {
		t.Errorf("where it was revoked: %d", status)
	}
	if _, err := ws.read(); websocket.CloseStatus(err) != websocket.StatusCode(errs.CloseKeyRevoked) {
		t.Errorf("the WebSocket there: %v", err)
	}
	if status := there.ping(made.Secret); status != http.StatusUnauthorized {
		t.Errorf("there: %d", status)
	}
}

func TestARotatedKeyHasTwoSecretsForAWhile(t *testing.T) {
	t.Parallel()
	g := start(t)
	made := call[apiv1.NewKey](g, apiv1.MethodKeyCreate, apiv1.KeyCreateParams{Name: "ci"})
	next := call[apiv1.NewKey](g, apiv1.MethodKeyRotate, apiv1.KeyRotateParams{KeyID: made.KeyID})
	if next.KeyID != made.KeyID || next.Secret == made.Secret || next.OverlapUntil == "" {
		t.Errorf("%s, overlap until %q", next.KeyID, next.OverlapUntil)
	}
	if g.ping(made.Secret) != http.StatusOK || g.ping(next.Secret) != http.StatusOK {
		t.Error("both are valid within the overlap")
	}
	ws := g.dialKey(next.Secret)
	none := 0
	last := call[apiv1.NewKey](g, apiv1.MethodKeyRotate, apiv1.KeyRotateParams{KeyID: made.KeyID, OverlapS: &none})
	if _, err := ws.read(); websocket.CloseStatus(err) != websocket.StatusCode(errs.CloseKeyRevoked) {
		t.Errorf("the WebSocket of the old secret: %v", err)
	}
	for key, want := range map[string]int{made.Secret: http.StatusUnauthorized, next.Secret: http.StatusUnauthorized, last.Secret: http.StatusOK} {
		if status := g.ping(key); status != want {
			t.Errorf("%d, want %d", status, want)
		}
	}
}

func TestKeysOnTheWire(t *testing.T) {
	t.Parallel()
	g := start(t)
	made := g.rpc(apiv1.MethodKeyCreate, apiv1.KeyCreateParams{
		Name: "ci", Tenant: "acme", Scopes: []string{"jobs:read", "keys:admin"}, RateLimit: 7, ExpiresAt: "2999-01-01T00:00:00Z",
	})
	golden(t, "key_create", made.Result)
	key := decode[apiv1.NewKey](t, made.Result)
	golden(t, "key_rotate", g.rpc(apiv1.MethodKeyRotate, map[string]any{"key_id": key.KeyID, "tenant": "acme", "overlap_s": 60}).Result)
	golden(t, "key_revoke", g.rpc(apiv1.MethodKeyRevoke, apiv1.KeyRef{KeyID: key.KeyID, Tenant: "acme"}).Result)
	list := g.rpc(apiv1.MethodKeyList, apiv1.KeyListParams{Tenant: "acme"}).Result
	golden(t, "key_list", list)
	if strings.Contains(string(list), "cgw_") {
		t.Error("a list shows a key")
	}
}

func TestAKeyGivesNoMoreThanItHas(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *edge.Config) { c.RateLimit = 100 })
	admin := call[apiv1.NewKey](g, apiv1.MethodKeyCreate, apiv1.KeyCreateParams{
		Tenant: "acme", Scopes: []string{"jobs:read", "keys:admin"}, RateLimit: 50, ExpiresAt: "2999-01-01T00:00:00Z",
	})
	strong := call[apiv1.NewKey](g, apiv1.MethodKeyCreate, apiv1.KeyCreateParams{Tenant: "acme"})
	foreign := call[apiv1.NewKey](g, apiv1.MethodKeyCreate, apiv1.KeyCreateParams{Tenant: "other"})
	usual := call[apiv1.NewKey](g, apiv1.MethodKeyCreate, apiv1.KeyCreateParams{Tenant: "acme", Scopes: []string{"keys:admin"}})
	if _, a := g.as(usual.Secret, "key.create", json.RawMessage(`{"scopes":["keys:admin"],"rate_limit":5}`)); a.Error != nil {
		t.Errorf("a lower limit than the default: %+v", a.Error)
	}
	const denied, invalid, unknown = -32003, -32602, -32004
	for _, tc := range []struct {
		name, key, method, params string
		code                      int
		field                     string
	}{
		{"a scope it lacks", admin.Secret, "key.create", `{"scopes":["jobs:read","jobs:write"]}`, denied, "/scopes/1"},
		{"another tenant", admin.Secret, "key.create", `{"tenant":"other"}`, denied, "/tenant"},
		{"a higher limit", admin.Secret, "key.create", `{"rate_limit":51}`, denied, "/rate_limit"},
		{"a higher limit than the default", usual.Secret, "key.create", `{"scopes":["keys:admin"],"rate_limit":101}`, denied, "/rate_limit"},
		{"a longer life", admin.Secret, "key.create", `{"expires_at":"2999-01-02T00:00:00Z"}`, denied, "/expires_at"},
		{"rotating a stronger key", admin.Secret, "key.rotate", `{"key_id":"` + strong.KeyID + `"}`, denied, "/key_id"},
		{"rotating a foreign key", admin.Secret, "key.rotate", `{"key_id":"` + foreign.KeyID + `"}`, unknown, ""},
		{"revoking a foreign key", admin.Secret, "key.revoke", `{"key_id":"` + foreign.KeyID + `"}`, unknown, ""},
		{"revoking no key", admin.Secret, "key.revoke", `{"key_id":"key_zzzzzzzzzzzz"}`, unknown, ""},
		{"a key without keys:admin", strong.Secret, "key.list", `{}`, denied, ""},
		{"an unknown scope", adminKey, "key.create", `{"scopes":["jobs:*"]}`, invalid, "/scopes/0"},
		{"a scope twice", adminKey, "key.create", `{"scopes":["jobs:read","jobs:read"]}`, invalid, "/scopes/1"},
		{"a time that was", adminKey, "key.create", `{"expires_at":"2001-01-01T00:00:00Z"}`, invalid, "/expires_at"},
		{"no time", adminKey, "key.create", `{"expires_at":"soon"}`, invalid, "/expires_at"},
		{"a negative limit", adminKey, "key.create", `{"rate_limit":-1}`, invalid, "/rate_limit"},
		{"no tenant's name", adminKey, "key.create", `{"tenant":"a/b"}`, invalid, "/tenant"},
		{"a long name", adminKey, "key.create", `{"name":"` + strings.Repeat("n", 256) + `"}`, invalid, "/name"},
		{"no key id", adminKey, "key.revoke", `{"key_id":""}`, invalid, "/key_id"},
		{"an overlap of a year", adminKey, "key.rotate", `{"key_id":"key_zzzzzzzzzzzz","overlap_s":31536000}`, invalid, "/overlap_s"},
		{"a cursor of nothing", adminKey, "key.list", `{"cursor":"x"}`, invalid, "/cursor"},
		{"an unknown field", adminKey, "key.create", `{"role":"root"}`, invalid, "/role"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, a := g.as(tc.key, tc.method, json.RawMessage(tc.params))
			if a.Error == nil || a.Error.Code != tc.code {
				t.Fatalf("%s %+v, want %d", a.Result, a.Error, tc.code)
			}
			if field, _ := a.Error.Data["field"].(string); field != tc.field {
				t.Errorf("field %q, want %q", field, tc.field)
			}
		})
	}
	_, a := g.as(admin.Secret, "key.create", json.RawMessage(`{}`))
	child := decode[apiv1.NewKey](t, a.Result)
	if strings.Join(child.Scopes, " ") != "jobs:read" || child.RateLimit != 50 || child.Tenant != "acme" || !strings.HasPrefix(child.ExpiresAt, "2999-01-01") {
		t.Errorf("made without a word: %+v", child.Key)
	}
}

func TestKeysThatAreNoneAreAllAlike(t *testing.T) {
	t.Parallel()
	g := start(t)
	var bodies []string
	for _, key := range []string{"x", "cgw_live_", "cgw_live_0123456789ab_0123456789abcdefghjkmnpqrstvwxyzb810f9c1", adminKey + "x"} {
		r := g.request(http.MethodGet, "/v1/jobs/job_x/events", map[string]string{"X-API-Key": key, "X-Request-Id": "same"}, "")
		if r.status != http.StatusUnauthorized {
			t.Errorf("status %d", r.status)
		}
		bodies = append(bodies, string(r.body))
	}
	for _, b := range bodies[1:] {
		if b != bodies[0] {
			t.Errorf("%s and %s differ", bodies[0], b)
		}
	}
}
