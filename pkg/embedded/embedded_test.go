package embedded_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/embedded"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/platform/platformtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Not parallel: the suite looks for goroutines that a close left behind.
func TestConformance(t *testing.T) { //nolint:paralleltest // see above
	var dirs sync.Map
	platformtest.Run(t, func(t *testing.T, schema docstore.Schema) *platform.Platform {
		t.Helper()
		dir, ok := dirs.Load(t.Name())
		if !ok {
			dir = filepath.Join(t.TempDir(), "data")
			dirs.Store(t.Name(), dir)
		}
		path, _ := dir.(string)
		return open(t, embedded.Config{Dir: path, Schema: schema})
	}, nil)
}

func open(t *testing.T, cfg embedded.Config) *platform.Platform {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p, err := embedded.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return p
}

func closeIt(t *testing.T, p *platform.Platform) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestOneDirectoryServesOneGateway(t *testing.T) {
	dir := t.TempDir()
	cfg := embedded.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	p := open(t, cfg)
	_, err := embedded.Open(t.Context(), cfg)
	if !errors.Is(err, embedded.ErrInUse) {
		t.Fatalf("second open: error %v, want ErrInUse", err)
	}
	if !strings.Contains(err.Error(), dir) { // the one text a user acts on
		t.Errorf("the error does not name the directory: %v", err)
	}
	closeIt(t, p)
	closeIt(t, open(t, cfg))
}

func TestModesKeepOthersOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	p := open(t, embedded.Config{Dir: dir})
	defer closeIt(t, p)
	for name, want := range map[string]os.FileMode{
		".": 0o700, "blobs": 0o700, "secrets": 0o700, "lock": 0o600, "blob-url.key": 0o600, "gateway.db": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode().Perm(), err, want)
		}
	}
}

func TestDirectoryOpenToOthersIsReported(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var logs bytes.Buffer
	closeIt(t, open(t, embedded.Config{Dir: dir, Logger: slog.New(slog.NewJSONHandler(&logs, nil))}))
	if !strings.Contains(logs.String(), `"dir":"`) {
		t.Errorf("no warning: %s", logs.String())
	}
}

func TestOpenFailsAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "blob-url.key")
	if err := os.WriteFile(key, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := embedded.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	if p, err := embedded.Open(t.Context(), cfg); err == nil {
		closeIt(t, p)
		t.Fatal("opened with a damaged key")
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	closeIt(t, open(t, cfg)) // the lock was freed
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", file} {
		if p, err := embedded.Open(t.Context(), embedded.Config{Dir: bad}); err == nil {
			closeIt(t, p)
			t.Errorf("opened %q", bad)
		}
	}
}

func TestSecretsComeFromTheGivenEnvironmentAndDirectory(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"OPENAI_API_KEY": "from-env"}
	p := open(t, embedded.Config{Dir: dir, LookupEnv: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	defer closeIt(t, p)
	if err := os.WriteFile(filepath.Join(dir, "secrets", "pepper"), []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"openai-api-key": "from-env", "pepper": "from-file"} {
		v, err := p.Secrets.Get(t.Context(), name)
		if err != nil || v.Reveal() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkWriteBlob(b *testing.B) {
	p, err := embedded.Open(b.Context(), embedded.Config{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 4096)
	for b.Loop() {
		if err := p.WriteBlob(b.Context(), "jobs/job_1/diff.patch", data, "text/x-diff"); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		b.Error(err)
	}
}
