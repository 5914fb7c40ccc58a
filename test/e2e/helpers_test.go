package e2e_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"codexgateway.dev/pkg/client"
)

// wantCode checks the code of an error answer, and its field if one is named.
func wantCode(t *testing.T, err error, code, field string) {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) || string(e.Code) != code || field != "" && e.Field != field {
		t.Errorf("error %v, want %s %s", err, code, field)
	}
}

// unzstd decompresses.
func unzstd(t *testing.T, packed string) string {
	t.Helper()
	dec, err := zstd.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	raw, err := io.ReadAll(dec)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// untar reads the regular files of a tar archive.
func untar(t *testing.T, archive string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			files[strings.TrimPrefix(h.Name, "./")] = string(raw)
		}
	}
}

// workspace is the files of a job's workspace archive.
func (g *gateway) workspace(t *testing.T, jobID string) map[string]string {
	t.Helper()
	return untar(t, unzstd(t, g.artifact(t, jobID, "workspace.tar.zst")))
}

// git runs git in a directory and returns what it printed.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_SYSTEM=" + os.DevNull,
		"GIT_AUTHOR_NAME=e2e", "GIT_AUTHOR_EMAIL=e2e@example.com", "GIT_COMMITTER_NAME=e2e", "GIT_COMMITTER_EMAIL=e2e@example.com",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// writeFile writes a file, with its directory.
func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tail is the end of a long text.
func tail(s string, most int) string {
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	over := time.NewTimer(jobLimit)
	defer over.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-over.C:
			t.Fatalf("not in %v: %s", jobLimit, what)
		}
	}
}
