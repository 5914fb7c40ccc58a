package edge_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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

// TestParamsOnlyGrowAtTheEnd compares with every param that was ever published:
// who calls by position has no names that would tell them apart. -update adds, it
// never removes.
func TestParamsOnlyGrowAtTheEnd(t *testing.T) {
	t.Parallel()
	const file = "testdata/params.golden"
	doc := readDocument[struct {
		Methods []struct {
			Name   string
			Params []struct {
				Name     string
				Required bool
			}
		}
	}](t, "openrpc.json")
	golden, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	published := map[string][]string{}
	for line := range strings.Lines(string(golden)) {
		words := strings.Fields(line)
		published[words[0]] = words[1:]
	}
	var next strings.Builder
	for _, m := range doc.Methods {
		old, known := published[m.Name]
		delete(published, m.Name)
		if len(m.Params) < len(old) {
			t.Errorf("%s: params are gone: %v, had %v", m.Name, m.Params, old)
			continue
		}
		next.WriteString(m.Name)
		for i, p := range m.Params {
			name := p.Name
			if p.Required {
				name += "!"
			}
			next.WriteString(" " + name)
			switch {
			case i < len(old) && old[i] != name:
				t.Errorf("%s: param %d is %s, was %s", m.Name, i, name, old[i])
			case i >= len(old) && known && p.Required:
				t.Errorf("%s: the new param %s is required", m.Name, name)
			}
		}
		next.WriteString("\n")
	}
	for name := range published {
		t.Errorf("the method %s is gone", name)
	}
	if *update && !t.Failed() {
		golden = []byte(next.String())
		if err := os.WriteFile(file, golden, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(golden), next.String()); diff != "" {
		t.Errorf("%s, run with -update (-published +now):\n%s", file, diff)
	}
}
