package codexversion

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

//go:embed version
var version string

// Pinned is the release the gateway is built for, such as "0.169.0".
func Pinned() string { return strings.TrimSpace(version) }

// ErrNotFound is wrapped by Locate's error when there is no Codex CLI.
var ErrNotFound = errors.New("codex cli not found")

// Package is an installed Codex CLI.
type Package struct {
	// Dir is the absolute directory with bin/codex and, in a complete package,
	// codex-path/rg and codex-resources/bwrap.
	Dir string
	// Binary is the native program, Dir/bin/codex.
	Binary string
}

// localDir is where make installs the pinned release, at the repository's top.
const localDir = ".codex-cli"

// Locate finds the native Codex package. name is the program, the npm wrapper
// that starts it, a package directory, or a directory with node_modules in it.
// Empty: .codex-cli in the working directory or above, then PATH.
//
// The npm wrapper itself is never used: it costs 60 ms and a second process.
func Locate(name string) (Package, error) {
	if name != "" {
		p, ok := resolve(name)
		if !ok {
			return Package{}, fmt.Errorf("%w: no native program for %q", ErrNotFound, name)
		}
		return p, nil
	}
	if wd, err := os.Getwd(); err == nil {
		for dir := wd; ; dir = filepath.Dir(dir) {
			if p, ok := resolve(filepath.Join(dir, localDir)); ok {
				return p, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if name, err := exec.LookPath("codex"); err == nil {
		if p, ok := resolve(name); ok {
			return p, nil
		}
	}
	return Package{}, fmt.Errorf("%w: neither in %s nor on PATH", ErrNotFound, localDir)
}

// resolve tries what name may be.
func resolve(name string) (Package, bool) {
	real, err := filepath.Abs(name)
	if err != nil {
		return Package{}, false
	}
	if real, err = filepath.EvalSymlinks(real); err != nil {
		return Package{}, false
	}
	native := "codex-" + platform()
	for _, pattern := range []string{
		real, // a package directory
		filepath.Join(real, "vendor", "*"),
		filepath.Join(real, "node_modules", "@openai", native, "vendor", "*"),
		// real is …/@openai/codex/bin/codex.js; npm puts the native package
		// beside the wrapper's or below it.
		filepath.Join(real, "..", "..", "..", native, "vendor", "*"),
		filepath.Join(real, "..", "..", "node_modules", "@openai", native, "vendor", "*"),
	} {
		dirs, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		for _, dir := range dirs {
			if p, ok := at(dir); ok {
				return p, true
			}
		}
	}
	// The program itself, but not the script that npm calls codex.js.
	if filepath.Base(real) == "codex" && filepath.Base(filepath.Dir(real)) == "bin" {
		return at(filepath.Dir(filepath.Dir(real)))
	}
	return Package{}, false
}

// at is the package in dir if there is one.
func at(dir string) (Package, bool) {
	p := Package{Dir: dir, Binary: filepath.Join(dir, "bin", "codex")}
	st, err := os.Stat(p.Binary)
	return p, err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

// platform is npm's name of this machine.
func platform() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	return runtime.GOOS + "-" + arch
}
