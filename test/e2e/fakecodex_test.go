package e2e_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/programtest"
)

// fakePackage is a Codex package with the fake in place of the program; what is
// beside it is the real one's, because the jail is built with it.
func fakePackage(t *testing.T) string {
	t.Helper()
	return fakeWith(t, "")
}

// fakeWith is a package with a fake of that name, which chooses what it does
// before any prompt.
func fakeWith(t *testing.T, trait string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "codex-resources"), os.DirFS(filepath.Join(tests.codex.Dir, "codex-resources"))); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(tests.fakeCodex)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "bin", "codex")
	if trait == "" {
		programtest.Write(t, program, raw)
	} else {
		programtest.Write(t, program+"-"+trait, raw)
		if err := os.Symlink("codex-"+trait, program); err != nil {
			t.Fatal(err)
		}
	}
	// The jail's user passes through: t.TempDir's parent is 0755 but it is not.
	if err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(name, 0o755)
	}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// withFake starts a gateway on the fake Codex. It runs no commands, so there is
// no sandbox of its own to probe.
func withFake(t *testing.T, env map[string]string) *gateway {
	t.Helper()
	all := map[string]string{"CODEXGW_ALLOW_UNSANDBOXED": "true"}
	maps.Copy(all, env)
	return start(t, options{codex: fakePackage(t), env: all})
}

func TestAJobSurvivesWhatCodexDoes(t *testing.T) {
	t.Parallel()
	g := withFake(t, map[string]string{"CODEXGW_WORKER_CONCURRENCY": "8"})
	const ok, failed = apiv1.StatusCompleted, apiv1.StatusFailed
	for name, c := range map[string]struct{ prompt, status, code string }{
		"says hello":          {"fake:hello", ok, ""},
		"writes a file":       {"fake:write made.txt text", ok, ""},
		"crashes mid-turn":    {"fake:crash-mid-turn", failed, "codex_crashed"},
		"leaves mid-turn":     {"fake:exit-without-turn", failed, "codex_crashed"},
		"writes garbage":      {"fake:garbage 50", ok, ""},
		"writes only garbage": {"fake:garbage 10000", failed, "codex_protocol"},
		"floods stderr":       {"fake:stderr 8MB", ok, ""},
		"speaks of unknowns":  {"fake:unknown", ok, ""},
		"repeats a message":   {"fake:retry", ok, ""},
		"many deltas":         {"fake:many-deltas 20000", ok, ""},
		"the turn fails":      {"fake:fail serverOverloaded", failed, "model_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := g.run(t, c.prompt)
			o.wantStatus(t, c.status, c.code)
		})
	}
}

func TestAnEnormousLineOfCodexCostsBoundedMemory(t *testing.T) {
	t.Parallel()
	needProc(t)
	g := withFake(t, nil)
	for range 2 {
		o := g.run(t, "fake:huge-line 50MB")
		o.wantStatus(t, apiv1.StatusCompleted, "")
	}
	const most = 600 << 10 // kB
	if kb := g.peak(t); kb > most {
		t.Errorf("the gateway took %d kB at its peak, want at most %d", kb, most)
	}
}

// peak is the most memory that one of the gateway's processes ever held, in kB.
func (g *gateway) peak(t *testing.T) int {
	t.Helper()
	most := 0
	for _, n := range g.nodes {
		most = max(most, peak(t, n.pid()))
	}
	return most
}

// peak is the most memory a process ever held, in kB.
func peak(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

func TestACodexThatWillNotEndIsKilled(t *testing.T) {
	t.Parallel()
	needProc(t)
	g := withFake(t, map[string]string{"CODEXGW_CANCEL_GRACE": "1s", "CODEXGW_WORKER_WARM": "0"})
	for _, prompt := range []string{"fake:interrupt-ignored", "fake:ignore-sigterm"} {
		jobID := g.submit(t, apiv1.PromptParams{Prompt: prompt})
		g.awaitEvent(t, jobID, "the turn starts", saysMethod("turn/started"))
		below := g.below()
		if len(below) == 0 {
			t.Fatal("no process to look at")
		}
		if _, err := g.CancelJob(t.Context(), jobID, ""); err != nil {
			t.Fatal(err)
		}
		o := g.await(t, jobID)
		o.wantStatus(t, apiv1.StatusCancelled, "")
		eventually(t, "the processes end", func() bool { return len(alive(below)) == 0 })
		eventually(t, "the job's directory is removed", func() bool { return len(g.slots(t)) == 0 })
	}
}

func TestASilentCodexIsStalled(t *testing.T) {
	t.Parallel()
	g := withFake(t, map[string]string{"CODEXGW_STALL_AFTER": "8s", "CODEXGW_CANCEL_GRACE": "1s"})
	for _, prompt := range []string{"fake:silence", "fake:interrupt-ignored"} {
		o := g.run(t, prompt)
		o.wantStatus(t, apiv1.StatusFailed, "stalled")
	}
	// One that goes on speaking is not.
	o := g.run(t, "fake:slow 60 150")
	o.wantStatus(t, apiv1.StatusCompleted, "")
}
