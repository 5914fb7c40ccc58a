package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/apiv1"
)

// slots are the directories of running jobs and warm processes.
func (g *gateway) slots(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(g.dir, "jobs", "slots"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != "template" {
			names = append(names, e.Name())
		}
	}
	return names
}

// sleeper is a command that leaves processes in every way there is, and a text
// to find them by.
func sleeper() (command, marker string) {
	marker = fmt.Sprintf("9%09d.5", rand.IntN(1_000_000_000))
	sleep := "sleep " + marker
	return fmt.Sprintf("setsid nohup %[1]s >/dev/null 2>&1 & (trap '' TERM HUP INT; %[1]s) & %[1]s", sleep), marker
}

func TestCancelEndsQueuedAndRunningJobs(t *testing.T) {
	t.Parallel()
	needProc(t)
	g := start(t, options{env: map[string]string{
		"CODEXGW_WORKER_CONCURRENCY": "1", "CODEXGW_WORKER_WARM": "0", "CODEXGW_CANCEL_GRACE": "30s",
	}})
	command, marker := sleeper()
	running := g.submit(t, apiv1.PromptParams{Prompt: "mock: shell " + command + "\nmock: hang"})
	queued := g.submit(t, apiv1.PromptParams{Prompt: "say never"})
	eventually(t, "the job's commands run", func() bool { return len(marked(marker)) >= 3 })

	r, err := g.CancelJob(t.Context(), queued, "not needed")
	if err != nil || r.Status != apiv1.StatusCancelled {
		t.Fatalf("cancel of the queued job: %+v, %v", r, err)
	}
	o := g.await(t, queued)
	o.wantStatus(t, apiv1.StatusCancelled, "")
	if len(o.events) != 2 || o.StartedAt != "" || o.Attempt != 1 {
		t.Errorf("the queued job started: %+v", o.Job)
	}

	r, err = g.CancelJob(t.Context(), running, "")
	if err != nil || !r.CancelRequested {
		t.Fatalf("cancel of the running job: %+v, %v", r, err)
	}
	o = g.await(t, running)
	o.wantStatus(t, apiv1.StatusCancelled, "")
	eventually(t, "the job's processes end", func() bool { return len(marked(marker)) == 0 })
	eventually(t, "the job's directory is removed", func() bool { return len(g.slots(t)) == 0 })
	_, err = g.CancelJob(t.Context(), running, "")
	wantCode(t, err, "conflict", "")

	// A job that is stopped keeps what it has done.
	hanging := g.submit(t, apiv1.PromptParams{Prompt: "mock: shell echo kept > kept.txt\nmock: hang"})
	g.awaitEvent(t, hanging, "the command ends", func(e apiv1.Event) bool {
		return saysMethod("item/completed")(e) && strings.Contains(string(e.Data), `"commandExecution"`)
	})
	if _, err := g.CancelJob(t.Context(), hanging, ""); err != nil {
		t.Fatal(err)
	}
	o = g.await(t, hanging)
	o.wantStatus(t, apiv1.StatusCancelled, "")
	if diff := g.artifact(t, hanging, "diff.patch"); !strings.Contains(diff, "+kept") {
		t.Errorf("the diff of a stopped job:\n%s", diff)
	}
}

func TestAJobLeavesNoProcessWhenItCompletes(t *testing.T) {
	t.Parallel()
	needProc(t)
	g := shared(t)
	command, marker := sleeper()
	// Everything in the background: the command itself ends at once.
	o := g.run(t, "mock: shell "+command+" & echo started > f.txt")
	o.wantStatus(t, apiv1.StatusCompleted, "")
	eventually(t, "the job's processes end", func() bool { return len(marked(marker)) == 0 })
}

func TestAJobEndsAtItsTimeout(t *testing.T) {
	t.Parallel()
	g := shared(t)
	began := time.Now()
	o := g.runWith(t, apiv1.PromptParams{Prompt: "mock: hang", TimeoutS: 2})
	o.wantStatus(t, apiv1.StatusTimedOut, "")
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it ended after %v, before its time", took)
	}
}

func TestAJobLeavesNoZombieInAContainer(t *testing.T) {
	t.Parallel()
	needProc(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root: the gateway is the first process of a PID namespace")
	}
	g := start(t, options{first: true})
	for range 3 {
		// A process that outlives its parent is inherited twice over.
		o := g.run(t, "mock: shell (sleep 600 &); echo started")
		o.wantStatus(t, apiv1.StatusCompleted, "")
	}
	eventually(t, "the job's processes are collected", func() bool {
		for _, p := range g.below() {
			if p.state == "Z" {
				return false
			}
		}
		return true
	})
}
