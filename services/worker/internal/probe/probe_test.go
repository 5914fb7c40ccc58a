package probe

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"codexgateway.dev/pkg/programtest"
	"codexgateway.dev/services/worker/codexversion"
	"codexgateway.dev/services/worker/internal/jail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var names = []string{CodexBinary, CodexVersion, Jail, Sandbox, Denials, Git, Disk}

// failing are the names of the checks that failed; every one needs advice, and
// all must be there in order.
func failing(t *testing.T, results []Result) []string {
	t.Helper()
	var got, failed []string
	for _, r := range results {
		got = append(got, r.Name)
		if !r.OK {
			failed = append(failed, r.Name)
		}
		if r.Detail == "" || (r.Fix == "") != r.OK {
			t.Errorf("incomplete result %+v", r)
		}
	}
	if d := cmp.Diff(names, got); d != "" {
		t.Error(d)
	}
	return failed
}

// codex is the real Codex, in a jail where the machine has namespaces.
func codex(t *testing.T) *jail.Launcher {
	t.Helper()
	pkg, err := codexversion.Locate("")
	if err != nil {
		t.Skipf("needs the pinned Codex CLI (make setup): %v", err)
	}
	l, err := jail.Open(jail.Config{Codex: pkg.Dir})
	if err != nil {
		t.Skipf("needs a jail: %v", err)
	}
	t.Cleanup(l.Close)
	if err := l.Detect(t.Context()); err != nil {
		t.Skipf("needs a jail: %v", err)
	}
	return l
}

func TestEverythingPassesHere(t *testing.T) {
	t.Parallel()
	codex(t)
	results := Run(t.Context(), Config{DataDir: t.TempDir(), MinFreeBytes: 1})
	if failed := failing(t, results); failed != nil || !OK(results) {
		t.Errorf("failed: %v in %+v", failed, results)
	}
}

func TestWithoutCodex(t *testing.T) {
	t.Parallel()
	results := Run(t.Context(), Config{Codex: filepath.Join(t.TempDir(), "none")})
	if d := cmp.Diff([]string{CodexBinary, CodexVersion, Jail, Sandbox, Denials}, failing(t, results)); d != "" {
		t.Error(d)
	}
	if OK(results) {
		t.Error("OK")
	}
}

// fake installs a program in place of Codex.
func fake(t *testing.T, script string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "bin", "codex")
	programtest.Write(t, name, []byte("#!/bin/sh\n"+script+"\n"))
	return name
}

func TestWrongVersion(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"other": "echo codex-cli 0.1.0", "longer": "echo codex-cli " + codexversion.Pinned() + "1", "fails": "exit 1", "silent": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := version(t.Context(), fake(t, script)); r.OK || r.Fix == "" {
				t.Errorf("%+v", r)
			}
		})
	}
	if r := version(t.Context(), fake(t, "echo codex-cli "+codexversion.Pinned())); !r.OK {
		t.Errorf("%+v", r)
	}
}

func TestSandboxThatCannotStart(t *testing.T) {
	t.Parallel()
	c := Config{Codex: fake(t, "echo broken >&2; exit 1"), Jail: jail.Config{Mode: jail.ProcessGroup}}
	failed := failing(t, Run(t.Context(), c))
	if d := cmp.Diff([]string{CodexVersion, Sandbox, Denials}, failed); d != "" {
		t.Error(d)
	}
}

func TestSandboxThatHangs(t *testing.T) {
	t.Parallel()
	l, err := jail.Open(jail.Config{Mode: jail.ProcessGroup, Codex: filepath.Dir(filepath.Dir(fake(t, "sleep 600")))})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := sandbox(ctx, l, profile); r[0].OK || r[1].OK {
		t.Errorf("%+v", r)
	}
}

// A profile that permits something must be noticed: otherwise the check could
// not fail.
func TestDenialsThatAreMissing(t *testing.T) {
	t.Parallel()
	l := codex(t)
	const root = "default_permissions = \"probe\"\n[permissions.probe.filesystem]\n\":root\" = \"read\"\n\":workspace_roots\" = \"write\"\n"
	for name, c := range map[string]struct{ profile, want string }{
		"outside writable": {root + "\"/tmp\" = \"write\"\n[permissions.probe.network]\nenabled = false\n", "write outside"},
		"network":          {root + "[permissions.probe.network]\nenabled = true\n", "reach loopback"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sandbox(t.Context(), l, c.profile)
			if !r[0].OK || r[1].OK || !strings.Contains(r[1].Detail, c.want) {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestDiskAndGit(t *testing.T) {
	t.Parallel()
	if r := (&Config{DataDir: t.TempDir(), MinFreeBytes: 1 << 60}).disk(); r.OK || r.Fix == "" {
		t.Errorf("%+v", r)
	}
	if r := (&Config{DataDir: "/no/such", MinFreeBytes: 1}).disk(); r.OK || r.Fix == "" {
		t.Errorf("%+v", r)
	}
	for version, ok := range map[string]bool{"git version 2.36.1": false, "git version 2.37.0": true, "git version 3.0 (Apple)": true, "nonsense": false} {
		c := Config{Git: fake(t, "echo '"+version+"'")}
		if r := c.git(t.Context()); r.OK != ok {
			t.Errorf("%s: %+v", version, r)
		}
	}
}

// In a namespace no profile can show CODEX_HOME to a command: it lies where the
// sandbox puts a /dev of its own. Without one, only the profile hides it.
func TestHomeIsHiddenByTheJailOrByTheProfile(t *testing.T) {
	t.Parallel()
	inside := codex(t)
	p, err := codexversion.Locate("")
	if err != nil {
		t.Fatal(err)
	}
	outside, err := jail.Open(jail.Config{Mode: jail.ProcessGroup, Codex: p.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	const weak = "default_permissions = \"probe\"\n[permissions.probe.filesystem]\n\":root\" = \"read\"\n\":workspace_roots\" = \"write\"\n[permissions.probe.network]\nenabled = false\n"
	if r := sandbox(t.Context(), inside, weak); !r[0].OK || !r[1].OK {
		t.Errorf("in a namespace, weak profile: %+v", r)
	}
	if r := sandbox(t.Context(), outside, weak); !r[0].OK || r[1].OK || !strings.Contains(r[1].Detail, "read CODEX_HOME") {
		t.Errorf("in a process group, weak profile: %+v", r)
	}
}
