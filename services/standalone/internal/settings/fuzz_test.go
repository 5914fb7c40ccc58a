package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzFile: a configuration file and a key file are read or refused; a key has
// nothing in it that a header cannot have.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{`{"url":"http://127.0.0.1:8080","key_file":"k"}`, `{"no_such":1}`, `[]`, "cgw_test_key\n", "two lines\nof it", "\x00", ""} {
		f.Add([]byte(seed))
	}
	home := f.TempDir()
	path := filepath.Join(home, "codexgw", "config.json")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		f.Fatal(err)
	}
	env := func(name string) (string, bool) { return home, name == "XDG_CONFIG_HOME" }
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readFile(env); err == nil && !strings.Contains(string(raw), "{") && strings.TrimSpace(string(raw)) != "null" {
			t.Errorf("%q passes for a configuration", raw)
		}
		if key, err := ReadKey(path); err == nil && strings.ContainsAny(key.Reveal(), "\r\n\x00 ") {
			t.Errorf("%q passes for a key", raw)
		}
	})
}
