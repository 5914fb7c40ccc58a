package gcp

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// Not parallel: the credentials are found by a variable.
func TestCredentialsThatComeLateAreFound(t *testing.T) {
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"t0ken","token_type":"Bearer","expires_in":3600}`)
	}))
	defer tokens.Close()
	file := filepath.Join(t.TempDir(), "key.json")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	found := defaultCredentials()
	if _, err := found.Token(t.Context()); err == nil {
		t.Fatal("a token without credentials")
	}
	raw, err := os.ReadFile("gcsblobs/testdata/v4_service_account.json")
	if err != nil {
		t.Fatal(err)
	}
	var key map[string]any
	if err := json.Unmarshal(raw, &key); err != nil {
		t.Fatal(err)
	}
	key["token_uri"] = tokens.URL
	if raw, err = json.Marshal(key); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := found.Token(t.Context()); err != nil || got.Value != "t0ken" {
		t.Errorf("token: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}
