package workspace

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a repository or a workspace to work on with git, as a user would.
func git(tb testing.TB, dir string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + systemPath, "HOME=" + tb.TempDir(), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b",
		"GIT_AUTHOR_DATE=2020-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2020-01-01T00:00:00Z",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// write makes files; a name ending in "/" is a directory.
func write(tb testing.TB, dir string, files map[string]string) {
	tb.Helper()
	for name, content := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			tb.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(full, 0o755); err != nil {
				tb.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
}

// shell runs a script in the workspace, as the job would.
func shell(tb testing.TB, dir, script string) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "sh", "-ec", script)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + systemPath, "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// request is a request for fresh directories.
func request(tb testing.TB, repo *Repo) Request {
	tb.Helper()
	dir := tb.TempDir()
	tb.Cleanup(func() { _ = Remove(dir) }) // t.TempDir cannot delete closed directories
	r := Request{Dir: filepath.Join(dir, "work"), State: filepath.Join(dir, "state"), Repo: repo}
	if err := os.Mkdir(r.Dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	return r
}

func prepare(tb testing.TB, repo *Repo, p Policy) *Workspace {
	tb.Helper()
	w, err := Prepare(tb.Context(), request(tb, repo), p)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// tree is everything in a directory but .git: kind, mode and content by name.
func tree(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.Name() == ".git" && d.IsDir():
			return filepath.SkipDir
		case d.IsDir():
		case info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0:
			out[rel] = "special" // reading it would wait
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(name)
			out[rel] = "link " + target
			return err
		default:
			raw, err := os.ReadFile(name)
			kind := "file "
			if info.Mode()&0o100 != 0 {
				kind = "exec "
			}
			out[rel] = kind + string(raw)
			return err
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// cancelled is a context that has ended.
func cancelled(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	cancel()
	return ctx
}
