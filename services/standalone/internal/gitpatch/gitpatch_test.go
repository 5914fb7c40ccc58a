package gitpatch_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/services/standalone/internal/gitpatch"
)

const patch = `diff --git a/hello.txt b/hello.txt
index 94954ab..b77b4eb 100644
--- a/hello.txt
+++ b/hello.txt
@@ -1,2 +1,2 @@
 hello
-world
+codex
diff --git a/sub/new.md b/sub/new.md
new file mode 100644
--- /dev/null
+++ b/sub/new.md
@@ -0,0 +1 @@
+# new
`

// repo is a work tree with hello.txt committed.
func repo(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "hello.txt"), content)
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "."}, {"-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "x"},
	} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func apply(t *testing.T, dir, patch string, threeWay bool) ([]gitpatch.File, error) {
	t.Helper()
	return gitpatch.Apply(t.Context(), []byte(patch), gitpatch.Options{Dir: dir, ThreeWay: threeWay, LookupEnv: os.LookupEnv})
}

func TestApplyFromAnywhereInTheTree(t *testing.T) {
	t.Parallel()
	dir := repo(t, "hello\nworld\n")
	write(t, filepath.Join(dir, "deep", "x"), "")
	files, err := apply(t, filepath.Join(dir, "deep"), patch, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []gitpatch.File{{Path: "hello.txt", Added: 1, Removed: 1}, {Path: "sub/new.md", Added: 1}}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := read(t, filepath.Join(dir, "hello.txt")) + read(t, filepath.Join(dir, "sub/new.md")); got != "hello\ncodex\n# new\n" {
		t.Errorf("files hold %q", got)
	}
}

func TestAConflictChangesNothing(t *testing.T) {
	t.Parallel()
	dir := repo(t, "hello\nmars\n")
	_, err := apply(t, dir, patch, false)
	var conflict *gitpatch.ConflictError
	if !errors.As(err, &conflict) || conflict.Merged || len(conflict.Reasons) == 0 {
		t.Fatalf("err = %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "sub")); err == nil {
		t.Error("the part that fits was applied")
	}
}

func TestThreeWayLeavesMarkers(t *testing.T) {
	t.Parallel()
	dir := repo(t, "hello\nworld\n")
	write(t, filepath.Join(dir, "hello.txt"), "hello\nmars\n")
	for _, args := range [][]string{{"-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qam", "y"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	_, err := apply(t, dir, patch, true)
	var conflict *gitpatch.ConflictError
	if !errors.As(err, &conflict) || !conflict.Merged {
		t.Fatalf("err = %v", err)
	}
	if got := read(t, filepath.Join(dir, "hello.txt")); !strings.Contains(got, "<<<<<<<") {
		t.Errorf("hello.txt holds %q", got)
	}
}

func TestHostilePatchesStayInside(t *testing.T) {
	t.Parallel()
	created := func(path string) string {
		return "diff --git a/" + path + " b/" + path + "\nnew file mode 100644\n--- /dev/null\n+++ b/" + path + "\n@@ -0,0 +1 @@\n+x\n"
	}
	for name, hostile := range map[string]string{
		"above":    created("../escaped"),
		"hook":     created(".git/hooks/post-checkout"),
		"symlink":  "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/tmp\n\\ No newline at end of file\n" + created("l/escaped"),
		"absolute": "diff --git a/x b/x\n--- /dev/null\n+++ /etc/escaped\n@@ -0,0 +1 @@\n+x\n",
		"garbage":  "hello",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := repo(t, "hello\nworld\n")
			if _, err := apply(t, dir, hostile, false); err == nil {
				t.Error("it was applied")
			}
			if _, err := os.Lstat(filepath.Join(dir, "l")); err == nil {
				t.Error("a part of it was applied")
			}
		})
	}
}

func TestOutsideOfGit(t *testing.T) {
	t.Parallel()
	if _, err := apply(t, t.TempDir(), patch, false); !errors.Is(err, gitpatch.ErrNoWorkTree) {
		t.Errorf("err = %v, want ErrNoWorkTree", err)
	}
}

func TestWithoutGit(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := apply(t, t.TempDir(), patch, false); !errors.Is(err, gitpatch.ErrNoGit) {
		t.Errorf("err = %v, want ErrNoGit", err)
	}
}

func TestColorize(t *testing.T) {
	t.Parallel()
	const hostile = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\x1b[2J\n+b\n c\n\\ No newline at end of file\n"
	var plain, color bytes.Buffer
	if err := gitpatch.Colorize(&plain, []byte(hostile), false); err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(hostile, "\x1b[2J", ""); plain.String() != want {
		t.Errorf("plain: %q", plain.String())
	}
	if err := gitpatch.Colorize(&color, []byte(hostile), true); err != nil {
		t.Fatal(err)
	}
	const want = "\x1b[1mdiff --git a/x b/x\x1b[0m\n\x1b[1m--- a/x\x1b[0m\n\x1b[1m+++ b/x\x1b[0m\n\x1b[36m@@ -1 +1 @@\x1b[0m\n" +
		"\x1b[31m-a\x1b[0m\n\x1b[32m+b\x1b[0m\n c\n\\ No newline at end of file\n"
	if diff := cmp.Diff(want, color.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
