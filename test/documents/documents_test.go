package documents_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// files are what an installation of the validators is made of.
var files = []string{"package.json", "package-lock.json", "validate.mjs"}

// installTime bounds what a slow registry may take.
const installTime = 5 * time.Minute

// validators returns the directory of the installed validators.
func validators(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("NOT RUN: npm is missing, so the validators of the documents cannot be installed")
	}
	sum := sha256.New()
	content := make(map[string][]byte)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		content[name] = b
		sum.Write(b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "codexgw-documents-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	// Aside and renamed: two runs at once must not find each other's half.
	aside, err := os.MkdirTemp(cache, "codexgw-documents-new-") //nolint:usetesting // it is renamed to where it stays
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(aside)
	for name, b := range content {
		if err := os.WriteFile(filepath.Join(aside, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTime)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	install.Dir = aside
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.Rename(aside, dir); err != nil && !errors.Is(err, os.ErrExist) {
		if _, there := os.Stat(dir); there != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// validate returns what the validators say of the documents in a directory.
func validate(t *testing.T, tools, dir string) (string, error) {
	t.Helper()
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "node", filepath.Join(tools, "validate.mjs"), abs).CombinedOutput()
	return string(out), err
}

func TestDocumentsFollowTheirMetaSchemas(t *testing.T) {
	t.Parallel()
	tools := validators(t)
	const reference = "../../docs/reference"
	if out, err := validate(t, tools, reference); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The validators must notice what is wrong, or the above says nothing.
	for name, breakIt := range map[string][2]string{
		"openrpc.json":  {`"paramStructure": "either"`, `"paramStructure": "sideways"`},
		"openapi.json":  {`"in": "query"`, `"in": "body"`},
		"asyncapi.json": {`"action": "receive"`, `"action": "listen"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, other := range []string{"openrpc.json", "openapi.json", "asyncapi.json"} {
				b, err := os.ReadFile(filepath.Join(reference, other))
				if err != nil {
					t.Fatal(err)
				}
				if other == name {
					whole := strings.Replace(string(b), breakIt[0], breakIt[1], 1)
					if whole == string(b) {
						t.Fatalf("%s has no %s", name, breakIt[0])
					}
					b = []byte(whole)
				}
				if err := os.WriteFile(filepath.Join(dir, other), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, err := validate(t, tools, dir)
			if err == nil || !strings.Contains(out, name) {
				t.Errorf("not noticed: %v\n%s", err, out)
			}
		})
	}
}
