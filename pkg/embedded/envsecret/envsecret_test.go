package envsecret_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"codexgateway.dev/pkg/embedded/envsecret"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/pkg/secret/secrettest"
)

func TestConformanceOfFiles(t *testing.T) {
	t.Parallel()
	secrettest.Run(t, func(t *testing.T) secrettest.Platform {
		t.Helper()
		dir := t.TempDir()
		return secrettest.Platform{
			Driver: envsecret.New(envsecret.Options{Dir: dir}),
			Put:    func(name, value string) { write(t, filepath.Join(dir, name), value, 0o600) },
			Delete: func(name string) {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func TestConformanceOfTheEnvironment(t *testing.T) {
	t.Parallel()
	secrettest.Run(t, func(t *testing.T) secrettest.Platform {
		t.Helper()
		var env sync.Map
		key := func(name string) string {
			return "CODEXGW_SECRET_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		}
		return secrettest.Platform{
			Driver: envsecret.New(envsecret.Options{Dir: filepath.Join(t.TempDir(), "missing"), LookupEnv: func(k string) (string, bool) {
				v, ok := env.Load(k)
				s, _ := v.(string)
				return s, ok
			}}),
			Put:    func(name, value string) { env.Store(key(name), value) },
			Delete: func(name string) { env.Delete(key(name)) },
		}
	})
}

func write(t *testing.T, path, value string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(value), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
}

func TestOrderOfSources(t *testing.T) {
	t.Parallel()
	const name = "openai-api-key"
	for _, c := range []struct {
		name      string
		env, file string
		fallback  string
		want      string
	}{
		{"the variable wins", "env", "file", "fallback", "env"},
		{"then the file", "", "file", "fallback", "file"},
		{"then the fallback", "", "", "fallback", "fallback"},
		{"an empty file is no secret", "", "\n", "fallback", "fallback"},
		{"nothing", "", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if c.file != "" {
				write(t, filepath.Join(dir, name), c.file, 0o600)
			}
			env := map[string]string{"CODEXGW_SECRET_OPENAI_API_KEY": c.env, "OPENAI_API_KEY": c.fallback}
			d := envsecret.New(envsecret.Options{Dir: dir, LookupEnv: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
			v, err := d.Latest(t.Context(), name)
			if v.Reveal() != c.want {
				t.Errorf("got the wrong source")
			}
			if got := errors.Is(err, secret.ErrNotFound); got != (c.want == "") {
				t.Errorf("error %v", err)
			}
			// The fallback belongs to one name only.
			if _, err := d.Latest(t.Context(), "other"); !errors.Is(err, secret.ErrNotFound) {
				t.Errorf("other: error %v, want ErrNotFound", err)
			}
		})
	}
}

func TestOneTrailingNewlineIsNotPartOfTheSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := envsecret.New(envsecret.Options{Dir: dir})
	for file, want := range map[string]string{"a": "a", "a\n": "a", "a\r\n": "a", "a\n\n": "a\n", "a\r": "a\r", "\na": "\na"} {
		write(t, filepath.Join(dir, "name"), file, 0o600)
		v, err := d.Latest(t.Context(), "name")
		if err != nil || v.Reveal() != want {
			t.Errorf("file %q: %q %v, want %q", file, v.Reveal(), err, want)
		}
	}
}

func TestHostileFiles(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, outside, "leaked", 0o600)
	for name, create := range map[string]func(path string) error{
		"a link that leads outside": func(path string) error { return os.Symlink(outside, path) },
		"a directory":               func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":                    func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"too large": func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("x", secret.MaxBytes+1)), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := create(filepath.Join(dir, "name")); err != nil {
				t.Fatal(err)
			}
			v, err := envsecret.New(envsecret.Options{Dir: dir}).Latest(t.Context(), "name")
			if err == nil || errors.Is(err, secret.ErrNotFound) || !v.Empty() {
				t.Errorf("value empty: %t, error %v; want a failure", v.Empty(), err)
			}
		})
	}
}

func TestLinkInsideTheDirectoryIsFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "v2"), "value", 0o600)
	if err := os.Symlink("v2", filepath.Join(dir, "name")); err != nil {
		t.Fatal(err)
	}
	v, err := envsecret.New(envsecret.Options{Dir: dir}).Latest(t.Context(), "name")
	if err != nil || v.Reveal() != "value" {
		t.Errorf("error %v", err)
	}
}

func TestLooseModeWarnsOnceWithoutTheSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var logs bytes.Buffer
	d := envsecret.New(envsecret.Options{Dir: dir, Logger: slog.New(slog.NewJSONHandler(&logs, nil))})
	warnings := func(mode os.FileMode) int {
		t.Helper()
		write(t, filepath.Join(dir, "name"), "hunter2", mode)
		logs.Reset()
		for range 3 {
			if _, err := d.Latest(t.Context(), "name"); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Contains(logs.String(), "hunter2") {
			t.Error("the log shows the secret")
		}
		return strings.Count(logs.String(), "\n")
	}
	for _, c := range []struct {
		mode os.FileMode
		want int
	}{{0o600, 0}, {0o400, 0}, {0o640, 1}, {0o644, 0}, {0o600, 0}, {0o604, 1}} {
		if got := warnings(c.mode); got != c.want {
			t.Errorf("mode %v: %d warnings, want %d", c.mode, got, c.want)
		}
	}
}
