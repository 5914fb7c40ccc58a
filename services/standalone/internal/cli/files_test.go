package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"codexgateway.dev/pkg/client/clienttest"
	"codexgateway.dev/services/standalone/internal/doctor"
	"codexgateway.dev/services/worker/codexversion"
)

// gitInit makes the shell's directory a work tree.
func (s *shell) gitInit() {
	s.t.Helper()
	cmd := exec.Command("git", "init", "-q")
	cmd.Dir, cmd.Env = s.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
}

func TestApplyChangesTheWorkTree(t *testing.T) {
	t.Parallel()
	s := newShell(t, full(t))
	s.gitInit()
	path := s.file("hello.txt", "hello\nworld\n")
	if got := s.ok("apply", "job_good"); got != "+1 -1  hello.txt\n" {
		t.Errorf("printed %q", got)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "hello\ncodex\n" {
		t.Errorf("hello.txt holds %q, %v", raw, err)
	}
	// A second time it does not fit any more.
	r := s.run("apply", "job_good")
	if r.code != 1 || !strings.Contains(r.stderr, "hello.txt") || !strings.Contains(r.stderr, "--3way") {
		t.Errorf("exit %d\n%s", r.code, r.stderr)
	}
	if out := s.ok("apply", "job_bad"); out != "" {
		t.Errorf("a job without changes: %q", out)
	}
}

func TestApplyOutsideOfGit(t *testing.T) {
	t.Parallel()
	if r := newShell(t, full(t)).run("apply", "job_good"); r.code != 2 {
		t.Errorf("exit %d\n%s", r.code, r.stderr)
	}
}

func TestDiffIsColouredOnATerminalOnly(t *testing.T) {
	t.Parallel()
	s := newShell(t, full(t))
	if got := s.ok("diff", "job_good"); got != patch {
		t.Errorf("not the patch: %q", got)
	}
	s.live = true
	if got := s.ok("diff", "job_good"); !strings.Contains(got, "\x1b[32m+codex\x1b[0m\n") {
		t.Errorf("no colour: %q", got)
	}
	s.env["NO_COLOR"] = "1"
	if got := s.ok("diff", "job_good"); got != patch {
		t.Errorf("NO_COLOR: %q", got)
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	s := newShell(t, full(t))
	dir := filepath.Join(s.dir, "new", "dir")
	s.ok("artifacts", "job_good", "--download", dir)
	for name, want := range map[string]string{"diff.patch": patch, "last_message.txt": "Done.\n"} {
		if raw, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(raw) != want {
			t.Errorf("%s holds %q, %v", name, raw, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

func TestDownloadRefusesNamesThatLeadElsewhere(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../escaped", "/etc/escaped", "a/b", "..", ".bashrc", "-rf", "a\nb", "a\x1b[2J", "CON:", ""} {
		g := clienttest.New(t)
		j := goodJob()
		j.Files = map[string][]byte{name: []byte("x"), "fine.txt": []byte("x")}
		g.Add(j)
		s := newShell(t, g)
		dir := filepath.Join(s.dir, "out")
		if r := s.run("artifacts", "job_good", "--download", dir); r.code != 1 {
			t.Errorf("%q: exit %d\n%s", name, r.code, r.stderr)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q: something was written", name)
		}
	}
}

func TestDownloadLeavesNothingOfACorruptArtifact(t *testing.T) {
	t.Parallel()
	g := full(t)
	g.CorruptFiles = true
	s := newShell(t, g)
	if r := s.run("artifacts", "job_good", "--download", s.dir); r.code != 1 {
		t.Errorf("exit %d\n%s", r.code, r.stderr)
	}
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 0 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

func TestVersionNamesThePinnedCodex(t *testing.T) {
	t.Parallel()
	s := newShell(t, nil)
	if out := s.ok("version"); !strings.Contains(out, codexversion.Pinned()) {
		t.Errorf("printed %q", out)
	}
	var got struct{ Version, Codex string }
	if err := json.Unmarshal([]byte(s.ok("version", "--json")), &got); err != nil || got.Codex != codexversion.Pinned() || got.Version == "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDoctorExitsOneWhenAnythingIsWrong(t *testing.T) {
	t.Parallel()
	s := newShell(t, nil)
	s.Checks = func(e doctor.Environment) []doctor.Check {
		if e.DataDir == "" || e.Addr != "127.0.0.1:0" {
			t.Errorf("environment %+v", e)
		}
		return []doctor.Check{{Name: "sandbox", Run: func(context.Context) (string, string, error) {
			return "", "Allow user namespaces.", errors.New("broken")
		}}}
	}
	r := s.run("doctor", "--addr", "127.0.0.1:0", "--json")
	var report doctor.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 1 || report.OK {
		t.Fatalf("exit %d, %v\n%s", r.code, err, r.stdout)
	}
	found := make(map[string]doctor.Result)
	for _, c := range report.Checks {
		found[c.Name] = c
	}
	if got := found["sandbox"]; got.OK || got.Fix != "Allow user namespaces." {
		t.Errorf("the added check: %+v", got)
	}
	if got := found["model key"]; !got.OK || !strings.Contains(got.Detail, "--mock-model") {
		t.Errorf("without a model key: %+v", got)
	}
	if r := s.run("doctor", "--addr", "127.0.0.1:0"); r.code != 1 || !strings.Contains(r.stdout, "→ Allow user namespaces.") {
		t.Errorf("exit %d\n%s", r.code, r.stdout)
	}
}
