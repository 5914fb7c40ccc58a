package workspace

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// origin makes a repository with one commit and returns its file:// URL.
func origin(tb testing.TB) (dir, url string) {
	tb.Helper()
	dir = tb.TempDir()
	git(tb, dir, "init", "-q", "-b", "trunk")
	write(tb, dir, map[string]string{
		"readme.md": "one\ntwo\nthree\n", "bin/run": "#!/bin/sh\n", "src/a.txt": "a\n", "src/b.txt": "b\n",
		"data.bin": "\x00\x01\x02binary\xff", "crlf.txt": "x\r\ny\r\n",
		".gitattributes": "*.txt text eol=crlf\n*.md diff=evil filter=evil\n* working-tree-encoding=UTF-16\n",
		".gitignore":     "*.log\n",
	})
	shell(tb, dir, "chmod +x bin/run; ln -s src/a.txt link")
	git(tb, dir, "-c", "core.attributesFile=/dev/null", "-c", "core.autocrlf=false", "add", "--renormalize", ".gitignore")
	// Attributes are committed, but must not touch the content here either.
	write(tb, filepath.Join(dir, ".git/info"), map[string]string{"attributes": plainAttributes})
	git(tb, dir, "add", "-A")
	git(tb, dir, "commit", "-q", "-m", "first")
	return dir, "file://" + dir
}

var local = Policy{AllowFile: true}

// Every change must be in the patch: applied to the base it gives the
// directory back.
func TestDiffAppliedToTheBaseGivesTheWorkspace(t *testing.T) {
	t.Parallel()
	_, url := origin(t)
	for name, script := range map[string]string{
		"edit":                   `echo four >>readme.md`,
		"same size and time":     `touch -r readme.md ref; printf 'ONE\ntwo\nthree\n' >readme.md; touch -r ref readme.md; rm ref`,
		"new":                    `echo n >new.txt; mkdir -p deep/er; echo n >deep/er/x`,
		"delete":                 `rm readme.md src/a.txt`,
		"delete all":             `rm -rf bin src readme.md data.bin crlf.txt link .gitattributes .gitignore`,
		"rename":                 `mv readme.md renamed.md`,
		"mode":                   `chmod +x readme.md; chmod -x bin/run`,
		"binary":                 `head -c 3000 /dev/urandom >data.bin; head -c 3000 /dev/urandom >new.bin`,
		"no newline at end":      `printf 'x' >readme.md`,
		"empty file":             `: >empty; : >readme.md`,
		"line ends":              `printf 'x\ny\n' >crlf.txt; printf 'q\r\n' >src/a.txt`,
		"link changed":           `ln -sf /etc/passwd link; ln -s .. up`,
		"file becomes link":      `rm readme.md; ln -s src/b.txt readme.md`,
		"link becomes file":      `rm link; echo now a file >link`,
		"file becomes directory": `rm readme.md; mkdir readme.md; echo x >readme.md/x`,
		"directory becomes file": `rm -r src; echo x >src`,
		"directory becomes link": `mv src other; ln -s other src`,
		"directory links out":    `rm -r src; ln -s /etc src`,
		"strange names":          `printf 1 >'a b"c'; printf 2 >"$(printf 'new\nline')"; printf 3 >-dash; printf 4 >"$(printf 'u\303\274')"; printf 5 >"$(printf '\377raw')"`,
		"names like .git":        `printf 1 >"$(printf '.g\342\200\214it')"; printf 2 >'a\.git'; mkdir -p x; printf 3 >x/.gitmodules`,
		"attributes":             `echo '*.md -diff binary working-tree-encoding=UTF-16' >.gitattributes; echo x >readme.md`,
		"index lies":             `git update-index --assume-unchanged readme.md; git update-index --skip-worktree src/a.txt; echo x >readme.md; echo y >src/a.txt`,
		"committed":              `echo x >readme.md; git -c user.name=a -c user.email=a@b commit -qam x`,
		"history gone":           `rm -rf .git; echo x >readme.md`,
		"fresh history":          `rm -rf .git; git init -q; echo x >readme.md; git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := prepare(t, &Repo{URL: url}, local)
			shell(t, w.Dir, script)
			d, err := w.Diff(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if d.Truncated || len(d.Skipped) > 0 || len(d.Patch) == 0 {
				t.Fatalf("%+v", d)
			}
			fresh := prepare(t, &Repo{URL: url}, local)
			patch := filepath.Join(t.TempDir(), "patch")
			if err := os.WriteFile(patch, d.Patch, 0o600); err != nil {
				t.Fatal(err)
			}
			git(t, fresh.Dir, "-c", "core.protectHFS=false", "-c", "core.protectNTFS=false", "apply", "--whitespace=nowarn", patch)
			if diff := cmp.Diff(tree(t, w.Dir), tree(t, fresh.Dir)); diff != "" {
				t.Errorf("patch does not give the workspace back:\n%s\n%s", diff, d.Patch)
			}
			again, err := w.Diff(t.Context())
			if err != nil || !bytes.Equal(again.Patch, d.Patch) {
				t.Errorf("second diff differs (%v)", err)
			}
		})
	}
}

func TestDiffOfNothingIsEmpty(t *testing.T) {
	t.Parallel()
	_, url := origin(t)
	for name, repo := range map[string]*Repo{"empty": nil, "clone": {URL: url}} {
		for change, script := range map[string]string{
			"untouched": ":", "touched": "find . -name .git -prune -o -type f -exec touch {} +",
			"ignored":     "[ -e .gitignore ] || exit 0; echo x >debug.log",
			"new pipe":    "mkfifo pipe; mkdir emptydir",
			"git changed": "git config user.name x; git branch other; rm -f .git/index",
		} {
			t.Run(name+"/"+change, func(t *testing.T) {
				t.Parallel()
				w := prepare(t, repo, local)
				shell(t, w.Dir, script)
				d, err := w.Diff(t.Context())
				if err != nil || len(d.Patch) > 0 || d.Truncated {
					t.Errorf("%+v, %v", d, err)
				}
			})
		}
	}
}

func TestDiffOfAnEmptyWorkspace(t *testing.T) {
	t.Parallel()
	w := prepare(t, nil, Policy{})
	write(t, w.Dir, map[string]string{"hello.txt": "hi\n"})
	d, err := w.Diff(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := "diff --git a/hello.txt b/hello.txt\nnew file mode 100644\n" +
		"index 0000000000000000000000000000000000000000..45b983be36b73c0788dc9cbcb76cbb80fc7bb057\n" +
		"--- /dev/null\n+++ b/hello.txt\n@@ -0,0 +1 @@\n+hi\n"
	if diff := cmp.Diff(want, string(d.Patch)); diff != "" {
		t.Error(diff)
	}
}

// Whatever the job leaves behind, nothing of it may run in the worker.
func TestDiffExecutesNothingOfTheJob(t *testing.T) {
	t.Parallel()
	_, url := origin(t)
	w := prepare(t, &Repo{URL: url}, local)
	ran := filepath.Join(t.TempDir(), "ran")
	evil := filepath.Join(t.TempDir(), "evil")
	if err := os.WriteFile(evil, []byte("#!/bin/sh\necho \"$0 $*\" >>"+ran+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, w.Dir, map[string]string{
		".git/config": "[core]\n\tfsmonitor = " + evil + "\n\thooksPath = " + filepath.Dir(evil) + "\n\tpager = " + evil +
			"\n[diff]\n\texternal = " + evil + "\n[diff \"evil\"]\n\ttextconv = " + evil + "\n\tcommand = " + evil +
			"\n[filter \"evil\"]\n\tclean = " + evil + "\n\tsmudge = " + evil + "\n\tprocess = " + evil + "\n\trequired = true\n",
		".gitattributes":    "* diff=evil filter=evil merge=evil\n",
		".gitmodules":       "[submodule \"s\"]\n\tpath = sub\n\turl = ext::" + evil + "\n\tupdate = !" + evil + "\n",
		"readme.md":         "changed\n",
		"new.md":            "new\n",
		"sub/.git/config":   "[core]\n\tfsmonitor = " + evil + "\n\trepositoryformatversion = 0\n",
		"sub/.git/HEAD":     "ref: refs/heads/main\n",
		"sub/.git/objects/": "", "sub/.git/refs/": "",
		"sub/x": "x",
	})
	for _, hook := range []string{"post-index-change", "pre-commit", "reference-transaction", "fsmonitor-watchman"} {
		write(t, w.Dir, map[string]string{".git/hooks/" + hook: "#!/bin/sh\n" + evil + " " + hook + "\n"})
		if err := os.Chmod(filepath.Join(w.Dir, ".git/hooks", hook), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d, err := w.Diff(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(ran); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the job's programs ran: %s", raw)
	}
	if !bytes.Contains(d.Patch, []byte("+changed\n")) || !bytes.Contains(d.Patch, []byte("+new\n")) {
		t.Errorf("the patch lacks changes:\n%s", d.Patch)
	}
	if bytes.Contains(d.Patch, []byte(".git/config")) {
		t.Errorf("the patch shows a .git:\n%s", d.Patch)
	}
}

// A .git that leads elsewhere must not lead the worker there.
func TestDiffIgnoresWhereTheJobsGitPoints(t *testing.T) {
	t.Parallel()
	other, url := origin(t)
	for name, script := range map[string]string{
		"file":   "rm -rf .git; echo 'gitdir: " + other + "/.git' >.git; echo x >new",
		"link":   "rm -rf .git; ln -s " + other + "/.git .git; echo x >new",
		"nested": "mkdir sub; echo 'gitdir: " + other + "/.git' >sub/.git; echo x >sub/new; echo x >new",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := prepare(t, &Repo{URL: url}, local)
			shell(t, w.Dir, script)
			d, err := w.Diff(t.Context())
			if err != nil || !bytes.HasPrefix(d.Patch, []byte("diff --git a/new b/new\n")) || bytes.Count(d.Patch, []byte("diff --git")) != 1 {
				t.Errorf("%s, %v", d.Patch, err)
			}
		})
	}
}

func TestDiffBounds(t *testing.T) {
	t.Parallel()
	p := Policy{MaxDiffBytes: 4096, MaxDiffFileBytes: 2048}
	big := strings.Repeat("0123456789abcde\n", 200)  // 3200
	half := strings.Repeat("0123456789abcde\n", 100) // 1600

	t.Run("file", func(t *testing.T) {
		t.Parallel()
		w := prepare(t, nil, p)
		write(t, w.Dir, map[string]string{"big": big, "small": "x\n"})
		d, err := w.Diff(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !d.Truncated || !cmp.Equal(d.Skipped, []Skipped{{"big", TooLarge}}) || !bytes.Contains(d.Patch, []byte("b/small")) {
			t.Errorf("%+v\n%s", d, d.Patch)
		}
	})
	t.Run("patch ends with a whole file", func(t *testing.T) {
		t.Parallel()
		w := prepare(t, nil, p)
		write(t, w.Dir, map[string]string{"a": half, "b": half, "c": half, "d": half})
		d, err := w.Diff(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !d.Truncated || bytes.Count(d.Patch, []byte("diff --git")) != 2 || !bytes.HasSuffix(d.Patch, []byte("+0123456789abcde\n")) {
			t.Errorf("truncated %v:\n%s", d.Truncated, d.Patch)
		}
		patch := filepath.Join(t.TempDir(), "patch")
		if err := os.WriteFile(patch, d.Patch, 0o600); err != nil {
			t.Fatal(err)
		}
		git(t, prepare(t, nil, p).Dir, "apply", patch)
	})
	t.Run("all files", func(t *testing.T) {
		t.Parallel()
		w := prepare(t, nil, p)
		files := map[string]string{}
		for i := range 200 {
			files["f"+strings.Repeat("x", i)] = half
		}
		write(t, w.Dir, files)
		d, err := w.Diff(t.Context())
		if err != nil || !d.Truncated || len(d.Skipped) != maxSkipped {
			t.Errorf("truncated %v, %d skipped, %v", d.Truncated, len(d.Skipped), err)
		}
	})
	t.Run("time", func(t *testing.T) {
		t.Parallel()
		w := prepare(t, nil, p)
		write(t, w.Dir, map[string]string{"a": "a"})
		if _, err := w.Diff(cancelled(t)); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func BenchmarkDiff(b *testing.B) {
	_, url := origin(b)
	for name, repo := range map[string]*Repo{"empty": nil, "clone": {URL: url}} {
		w := prepare(b, repo, local)
		b.Run(name+"/unchanged", func(b *testing.B) {
			for b.Loop() {
				if _, err := w.Diff(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
		write(b, w.Dir, map[string]string{"new.txt": "x\n"})
		b.Run(name+"/changed", func(b *testing.B) {
			for b.Loop() {
				if _, err := w.Diff(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
