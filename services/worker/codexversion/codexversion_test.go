package codexversion_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"codexgateway.dev/services/worker/codexversion"
)

func TestPinnedIsARelease(t *testing.T) {
	t.Parallel()
	if v := codexversion.Pinned(); !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(v) {
		t.Errorf("Pinned() = %q, want a plain release number", v)
	}
}

// install makes an npm tree with a wrapper and a native package.
func install(t *testing.T) (root, native string) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	scope := filepath.Join(root, "node_modules", "@openai")
	native = filepath.Join(scope, "codex-"+runtime.GOOS+"-"+arch, "vendor", "some-triple")
	for _, f := range []string{filepath.Join(native, "bin", "codex"), filepath.Join(scope, "codex", "bin", "codex.js")} {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bin := filepath.Join(root, "node_modules", ".bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../@openai/codex/bin/codex.js", filepath.Join(bin, "codex")); err != nil {
		t.Fatal(err)
	}
	return root, native
}

func TestLocateFindsTheNativeProgram(t *testing.T) {
	t.Parallel()
	root, native := install(t)
	for name, arg := range map[string]string{
		"install directory": root,
		"npm wrapper link":  filepath.Join(root, "node_modules", ".bin", "codex"),
		"package directory": native,
		"program":           filepath.Join(native, "bin", "codex"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := codexversion.Locate(arg)
			if err != nil {
				t.Fatal(err)
			}
			if p.Dir != native || p.Binary != filepath.Join(native, "bin", "codex") {
				t.Errorf("Locate(%q) = %+v, want the package at %s", arg, p, native)
			}
		})
	}
}

func TestLocateRefusesWhatIsNotCodex(t *testing.T) {
	t.Parallel()
	root, _ := install(t)
	for _, arg := range []string{filepath.Join(root, "missing"), "/bin/sh", t.TempDir()} {
		if p, err := codexversion.Locate(arg); !errors.Is(err, codexversion.ErrNotFound) {
			t.Errorf("Locate(%q) = %+v, %v, want ErrNotFound", arg, p, err)
		}
	}
}

func TestLocateSearchesUpwards(t *testing.T) {
	root, native := install(t)
	if err := os.Rename(filepath.Join(root, "node_modules"), filepath.Join(root, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, ".codex-cli"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, "moved"), filepath.Join(root, ".codex-cli", "node_modules")); err != nil {
		t.Fatal(err)
	}
	deep := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(deep)
	p, err := codexversion.Locate("")
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(root, native)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(root, ".codex-cli", rel); p.Dir != want {
		t.Errorf("Locate(\"\").Dir = %s, want %s", p.Dir, want)
	}
}
