package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"time"

	"codexgateway.dev/pkg/embedded"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/services/standalone/internal/up"
	"codexgateway.dev/services/worker/codexversion"
)

// minFree is the space a few jobs need: a clone, build outputs, artifacts.
const minFree = 1 << 30

// Environment is the machine as codexgw up would find it.
type Environment struct {
	LookupEnv func(string) (string, bool)
	// DataDir, Addr and Codex are up's settings.
	DataDir, Addr, Codex string
	// ModelKey looks for the model key and returns the name of its secret.
	ModelKey func(ctx context.Context) (name string, err error)
}

// Basic are the checks that need no part of the gateway.
func Basic(e Environment) []Check {
	return []Check{
		{"platform", checkPlatform},
		{"codex", e.codex},
		{"git", e.git},
		{"data directory", e.dataDir},
		{"store", e.store},
		{"model key", e.modelKey},
		{"port", e.port},
		{"gateway", e.gateway},
	}
}

func checkPlatform(context.Context) (detail, fix string, err error) {
	detail = runtime.GOOS + "/" + runtime.GOARCH
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		return detail, "Use Linux or macOS.", errors.New("not supported")
	}
	return detail, "", nil
}

var versionNumber = regexp.MustCompile(`\d+\.\d+\.\d+`)

func (e *Environment) codex(ctx context.Context) (detail, fix string, err error) {
	pinned := codexversion.Pinned()
	fix = fmt.Sprintf("Run `make setup`, or `npm install --prefix .codex-cli @openai/codex@%s`, or name an installed one with --codex PATH.", pinned)
	p, err := codexversion.Locate(e.Codex)
	if err != nil {
		return "", fix, err
	}
	cmd := exec.CommandContext(ctx, p.Binary, "--version")
	cmd.Env = []string{"PATH=" + os.DevNull, "HOME=" + os.DevNull}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return p.Binary, fix, fmt.Errorf("it does not run: %w", err)
	}
	got := versionNumber.FindString(string(out))
	if got != pinned {
		return p.Binary, fix, fmt.Errorf("it is version %q, the gateway is built for %s", got, pinned)
	}
	return got + " at " + p.Binary, "", nil
}

func (e *Environment) git(ctx context.Context) (detail, fix string, err error) {
	fix = "Install git (apt install git, brew install git) and see that it is on PATH."
	path, err := exec.LookPath("git")
	if err != nil {
		return "", fix, errors.New("git is not on PATH; jobs with a repository need it")
	}
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = []string{"LC_ALL=C"}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return path, fix, fmt.Errorf("it does not run: %w", err)
	}
	return string(bytes.TrimSpace(out)), "", nil
}

// dataDir checks the directory, or the nearest one above that exists: up
// creates it, doctor changes nothing that stays.
func (e *Environment) dataDir(context.Context) (detail, fix string, err error) {
	fix = "Choose another directory with --data DIR."
	if e.DataDir == "" {
		return "", "Set HOME, or choose a directory with --data DIR.", errors.New("no data directory")
	}
	detail = e.DataDir
	dir := e.DataDir
	for {
		info, err := os.Stat(dir)
		if err == nil {
			if !info.IsDir() {
				return detail, fix, fmt.Errorf("%s is not a directory", dir)
			}
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return detail, fix, err
		}
		dir = filepath.Dir(dir)
	}
	probe, err := os.CreateTemp(dir, ".codexgw-doctor-*")
	if err != nil {
		return detail, fix, fmt.Errorf("not writable: %w", err)
	}
	err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	if err != nil {
		return detail, fix, err
	}
	free, err := freeBytes(dir)
	if err != nil {
		return detail, fix, fmt.Errorf("free space: %w", err)
	}
	if free < minFree {
		return detail, "Free some space, or choose another disk with --data DIR.",
			fmt.Errorf("only %d MiB free, at least %d MiB are needed", free>>20, minFree>>20)
	}
	return fmt.Sprintf("%s, %d GiB free", detail, free>>30), "", nil
}

// store opens what is stored already, and closes it again.
func (e *Environment) store(ctx context.Context) (detail, fix string, err error) {
	if e.DataDir == "" {
		return "no data directory", "", nil // another check says so
	}
	if _, err := os.Stat(filepath.Join(e.DataDir, "gateway.db")); err != nil {
		return "nothing stored yet", "", nil //nolint:nilerr // no file is no problem; another check looks at the directory
	}
	p, err := embedded.Open(ctx, embedded.Config{
		Dir: e.DataDir, Schema: schema.All(), Logger: slog.New(slog.DiscardHandler),
	})
	if errors.Is(err, embedded.ErrInUse) {
		return "in use by a running gateway", "", nil
	}
	if err != nil {
		return e.DataDir, "Restore the directory from a backup, or choose a new one with --data DIR.", err
	}
	return "opens", "", p.Close()
}

func (e *Environment) modelKey(ctx context.Context) (detail, fix string, err error) {
	name, err := e.ModelKey(ctx)
	if errors.Is(err, up.ErrNoModelKey) {
		// Nothing is wrong with the machine: the mock model needs no key.
		return "none: start with --mock-model, or set OPENAI_API_KEY", "", nil
	}
	if err != nil {
		return "", "Set OPENAI_API_KEY, or write the key to " + filepath.Join(e.DataDir, "secrets", "openai-api-key") +
			" (mode 0600), or start with --mock-model to try the gateway without a model.", err
	}
	return "the secret " + name + " is set", "", nil
}
