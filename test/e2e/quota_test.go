package e2e_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/apiv1"
)

// grace is that of the gateways whose jobs are stopped. A stop that did nothing
// would show: what is stopped here goes on for longer than jobLimit.
const grace = 2 * time.Second

// small starts a gateway whose jobs may take little, with the real Codex.
func small(t *testing.T, env map[string]string) *gateway {
	t.Helper()
	needProc(t)
	all := map[string]string{
		"CODEXGW_CANCEL_GRACE": grace.String(), "CODEXGW_JOB_PROCESSES": "200",
		"CODEXGW_JOB_DISK_BYTES": fmt.Sprint(96 << 20), "CODEXGW_JOB_FILE_BYTES": fmt.Sprint(64 << 20), "CODEXGW_JOB_DISK_FILES": "3000",
	}
	maps.Copy(all, env)
	return start(t, options{env: all})
}

// wantNothingLeft checks what must be true after a job: no process of it, no
// directory of it, warm processes as before, and the gateway goes on.
func wantNothingLeft(t *testing.T, g *gateway, marker string) {
	t.Helper()
	wantNoProcess(t, marker)
	o := g.run(t, "mock: shell echo next > next.txt\nmock: say next")
	o.wantStatus(t, apiv1.StatusCompleted, "")
	if o.Content != "next" {
		t.Errorf("the next job says %q", o.Content)
	}
	eventually(t, "the warm process alone is left", func() bool { return len(g.slots(t)) == 1 })
}

// newMarker is a text to find a job's processes by: a number of seconds.
func newMarker() string { return fmt.Sprintf("9%09d.5", rand.IntN(1_000_000_000)) }

func TestAForkBombIsBounded(t *testing.T) {
	t.Parallel()
	g := small(t, nil)
	marker := newMarker()
	// It hangs after the command, which may end early: the bound leaves no process
	// for the last sleep.
	bomb := g.submit(t, apiv1.PromptParams{Prompt: "mock: shell b() { sleep " + marker + " & b | b & }; b; wait; sleep 600\nmock: hang"})
	eventually(t, "the bomb has gone off", func() bool { return len(marked(marker)) >= 20 })

	// The same user, another job: it has its own processes.
	other := g.run(t, "mock: shell i=0; while [ $i -lt 60 ]; do sleep 600 & i=$((i+1)); done; jobs -p | wc -l > n.txt; kill $(jobs -p)")
	other.wantStatus(t, apiv1.StatusCompleted, "")
	if n := strings.TrimSpace(g.workspace(t, other.JobID)["n.txt"]); n != "60" {
		t.Errorf("a job beside a fork bomb started %q processes, want 60", n)
	}
	if n := len(marked(marker)); n > 200 {
		t.Errorf("%d processes of a bound of 200", n)
	}
	g.stopJob(t, bomb)
	wantNothingLeft(t, g, marker)
}

// stopJob cancels a running job and checks that it ends as it must.
func (g *gateway) stopJob(t *testing.T, jobID string) {
	t.Helper()
	if r, err := g.CancelJob(t.Context(), jobID, ""); err != nil || !r.CancelRequested {
		t.Fatalf("cancel: %+v, %v", r, err)
	}
	// Asking twice is asking once, or too late: it may have ended in between.
	if r, err := g.CancelJob(t.Context(), jobID, ""); err != nil {
		wantCode(t, err, "conflict", "")
	} else if !r.CancelRequested {
		t.Errorf("the second cancel: %+v", r)
	}
	o := g.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCancelled, "")
	_, err := g.CancelJob(t.Context(), jobID, "")
	wantCode(t, err, "conflict", "")
}

func TestAFullWorkspaceEndsItsJobAndNoOther(t *testing.T) {
	t.Parallel()
	g := small(t, nil)
	each(t, map[string]string{
		"writes":        "for i in 1 2 3 4 5; do head -c 40000000 /dev/zero > f$i; done",
		"allocates":     "for i in 1 2 3 4 5; do fallocate -l 60M f$i; done",
		"many files":    "mkdir d; for i in $(seq 5000); do : > d/$i; done",
		"elsewhere":     "for i in 1 2 3 4 5; do head -c 40000000 /dev/zero > /tmp/f$i; done",
		"in the secret": "mkdir -p a/b; cd a/b; for i in 1 2 3 4 5; do head -c 40000000 /dev/zero > .f$i; done; chmod 0 . ..",
	}, func(t *testing.T, command string) {
		t.Helper()
		marker := newMarker()
		// Only the limit ends it: Codex does not wait for a command for ever.
		o := g.run(t, "mock: shell "+command+"; sleep "+marker+"\nmock: hang")
		o.wantStatus(t, apiv1.StatusFailed, "workspace_full")
		if o.Error != nil && !strings.Contains(o.Error.Message, "96 MiB") {
			t.Errorf("the error does not name the limit: %+v", o.Error)
		}
		wantNoProcess(t, marker)
	})
	wantNothingLeft(t, g, "no such process")
}

// each runs a parallel subtest for each case and returns when all have ended.
func each[C any](t *testing.T, cases map[string]C, run func(t *testing.T, c C)) {
	t.Helper()
	t.Run("all", func(t *testing.T) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t, c)
			})
		}
	})
}

// wantNoProcess checks that nothing runs of a job that has ended: its terminal
// event promises that.
func wantNoProcess(t *testing.T, marker string) {
	t.Helper()
	if left := marked(marker); len(left) > 0 {
		t.Errorf("processes are left after the terminal event: %v", left)
	}
}

func TestALargeFileFailsItsCommandOnly(t *testing.T) {
	t.Parallel()
	g := small(t, nil)
	o := g.run(t, "mock: shell trap '' XFSZ; dd if=/dev/zero of=big bs=1M count=80 2>/dev/null; echo $? > status; rm big\nmock: say over")
	o.wantStatus(t, apiv1.StatusCompleted, "")
	if files := g.workspace(t, o.JobID); files["status"] != "1\n" {
		t.Errorf("writing past the largest file ended with %q", files["status"])
	}
}

// A file may look larger than it is; what is kept of a workspace is bounded too.
func TestAWorkspaceTooLargeToKeepIsToldSo(t *testing.T) {
	t.Parallel()
	g := small(t, map[string]string{"CODEXGW_REPO_MAX_BYTES": fmt.Sprint(16 << 20)})
	o := g.run(t, "mock: shell truncate -s 32M sparse; echo small > small.txt\nmock: say over")
	o.wantStatus(t, apiv1.StatusFailed, "workspace_full")
	if diff := g.artifact(t, o.JobID, "diff.patch"); !strings.Contains(diff, "+small") {
		t.Errorf("the diff is not kept:\n%s", diff)
	}
	wantNothingLeft(t, g, "no such process")
}

// stubborn are commands that try to outlive their turn; SLEEP stands for one
// that never ends by itself.
var stubborn = map[string]string{ //nolint:gochecknoglobals // a constant
	"ignores SIGTERM":       "trap '' TERM HUP INT; SLEEP; SLEEP",
	"daemonises":            "setsid -f SLEEP; (setsid sh -c 'setsid SLEEP &' &); nohup SLEEP >/dev/null 2>&1 & sleep 1",
	"holds the workspace":   "exec 9>held; flock 9; (while :; do SLEEP; done) & SLEEP",
	"stops itself":          "SLEEP & kill -STOP $!; kill -STOP $$",
	"writes without an end": "(while :; do echo x; done > log) & SLEEP",
}

func TestNothingOutlivesATurn(t *testing.T) {
	t.Parallel()
	g := small(t, map[string]string{"CODEXGW_WORKER_CONCURRENCY": "8"})
	each(t, stubborn, func(t *testing.T, command string) {
		t.Helper()
		marker := newMarker()
		command = "mock: shell " + strings.ReplaceAll(command, "SLEEP", "sleep "+marker)
		// The model goes on, and ends the turn, while the command still runs.
		o := g.run(t, "mock: wait 3000\n"+command+"\nmock: say over")
		o.wantStatus(t, apiv1.StatusCompleted, "")
		wantNoProcess(t, marker)

		running := g.submit(t, apiv1.PromptParams{Prompt: command + "\nmock: hang"})
		g.awaitEvent(t, running, "the command runs", saysCommand)
		g.stopJob(t, running)
		wantNoProcess(t, marker)
	})
	wantNothingLeft(t, g, "no such process")
}

// saysCommand reports whether an event tells that a command has started.
func saysCommand(e apiv1.Event) bool {
	return saysMethod("item/started")(e) && strings.Contains(string(e.Data), `"commandExecution"`)
}
