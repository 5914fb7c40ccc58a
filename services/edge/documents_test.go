package edge_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reference is where the documents are that people read, and generators of
// clients.
const reference = "../../docs/reference"

// TestDocumentsAreTheReference: what is served is what is checked in, but for
// the version of the gateway. make docs writes them.
func TestDocumentsAreTheReference(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, name := range []string{"openrpc.json", "openapi.json", "asyncapi.json"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := g.request(http.MethodGet, "/"+name, map[string]string{"X-API-Key": ""}, "")
			if ct := resp.header.Get("Content-Type"); resp.status != http.StatusOK || ct != "application/json" {
				t.Fatalf("%d %s", resp.status, ct)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, resp.body, "", "  "); err != nil {
				t.Fatal(err)
			}
			got := bytes.Replace(append(pretty.Bytes(), '\n'), []byte(`"version": "`+version+`"`), []byte(`"version": "dev"`), 1)
			file := filepath.Join(reference, name)
			if *update {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("stale, run make docs (-want +got):\n%s", diff)
			}
		})
	}
}
