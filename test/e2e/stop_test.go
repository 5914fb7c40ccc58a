package e2e_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
)

// stalling is a repository that git never finishes to read; reached returns when
// it has begun to.
func stalling(t *testing.T) (dir string, reached func(t *testing.T)) {
	t.Helper()
	dir = project(t)
	// Git waits in its open: a pipe has no reader's end without a writer's.
	if err := syscall.Mkfifo(filepath.Join(dir, ".git", "packed-refs"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, func(t *testing.T) {
		t.Helper()
		eventually(t, "git reads the repository", func() bool { return len(marked(dir)) > 0 })
	}
}

// phase is a place where a job can be when it is stopped.
type phase struct {
	codex  string // the trait of a fake Codex; empty: the real one
	params apiv1.PromptParams
	// reached waits until the job is there.
	reached func(t *testing.T, g *gateway, jobID string)
}

// isRunning is enough for a phase that follows the claim at once.
func isRunning(t *testing.T, g *gateway, jobID string) {
	t.Helper()
	g.awaitEvent(t, jobID, "the job starts", func(e apiv1.Event) bool { return e.Type == eventlog.TypeStarted })
}

// phases are all of them; none ends by itself.
func phases(t *testing.T) map[string]phase {
	t.Helper()
	dir, reading := stalling(t)
	return map[string]phase{
		"Codex does not answer initialize": {codex: "no-init", params: apiv1.PromptParams{Prompt: "fake:hello"}, reached: isRunning},
		"Codex does not open a thread":     {codex: "no-thread", params: apiv1.PromptParams{Prompt: "fake:hello"}, reached: isRunning},
		"Codex is deaf":                    {codex: "deaf", params: apiv1.PromptParams{Prompt: "fake:interrupt-ignored"}, reached: isRunning},
		"Codex will not end":               {codex: "deaf", params: apiv1.PromptParams{Prompt: "fake:ignore-sigterm"}, reached: isRunning},
		"the repository stalls": {
			params:  apiv1.PromptParams{Prompt: "say never", Repo: &apiv1.Repo{URL: "file://" + dir}},
			reached: func(t *testing.T, _ *gateway, _ string) { t.Helper(); reading(t) },
		},
		"the model hangs": {params: apiv1.PromptParams{Prompt: "mock: hang"}, reached: isRunning},
		"the model is slow to begin": {
			params: apiv1.PromptParams{Prompt: "mock: slow-first 600000\nmock: say never"}, reached: isRunning,
		},
		"the model answers 503": {
			params: apiv1.PromptParams{Prompt: "mock: status 503 1000 retry-after 60"}, reached: isRunning,
		},
		"a command hangs": {
			params: apiv1.PromptParams{Prompt: "mock: shell sleep 600\nmock: hang"},
			reached: func(t *testing.T, g *gateway, jobID string) {
				t.Helper()
				g.awaitEvent(t, jobID, "the command runs", saysCommand)
			},
		},
	}
}

// stoppable starts a gateway on the Codex that some phases need.
func stoppable(t *testing.T, codex string) *gateway {
	t.Helper()
	opt := options{mayFail: true, env: map[string]string{
		"CODEXGW_CANCEL_GRACE": grace.String(), "CODEXGW_WORKER_CONCURRENCY": "8", "CODEXGW_WORKER_WARM": "0",
		"CODEXGW_REPO_ALLOW_FILE": "true", "CODEXGW_MODEL_RETRY_WAIT": "1h",
	}}
	if codex != "" {
		opt.codex, opt.env["CODEXGW_ALLOW_UNSANDBOXED"] = fakeWith(t, codex), "true"
	}
	return start(t, opt)
}

func TestAJobIsStoppedInTimeWhereverItIs(t *testing.T) {
	t.Parallel()
	needProc(t)
	by := map[string]map[string]phase{}
	for name, p := range phases(t) {
		if by[p.codex] == nil {
			by[p.codex] = map[string]phase{}
		}
		by[p.codex][name] = p
	}
	for codex, phases := range by {
		t.Run("codex "+codex, func(t *testing.T) {
			t.Parallel()
			g := stoppable(t, codex)
			each(t, phases, func(t *testing.T, p phase) { t.Helper(); stopTwice(t, g, p) })
			eventually(t, "every job's directory is removed", func() bool { return len(g.slots(t)) == 0 })
			if below := alive(g.below()); len(below) > 0 {
				t.Errorf("processes are left: %v", below)
			}
		})
	}
}

// stopTwice brings one job to the phase and cancels it, and lets another one
// run out of its time there.
func stopTwice(t *testing.T, g *gateway, p phase) {
	t.Helper()
	jobID := g.submit(t, p.params)
	p.reached(t, g, jobID)
	g.stopJob(t, jobID)

	p.params.TimeoutS = 1
	o := g.await(t, g.submit(t, p.params))
	o.wantStatus(t, apiv1.StatusTimedOut, "")
}

// While a large result is collected a stop comes too late, or in time; it is
// never without an end.
func TestAJobIsStoppedWhileItIsCollected(t *testing.T) {
	t.Parallel()
	g := start(t, options{env: map[string]string{"CODEXGW_CANCEL_GRACE": grace.String()}})
	jobID := g.submit(t, apiv1.PromptParams{
		Prompt: "mock: shell head -c 150000000 /dev/urandom | split -a 4 -b 100000\nmock: say over",
	})
	g.awaitEvent(t, jobID, "the turn ends", saysMethod("turn/completed"))
	if _, err := g.CancelJob(t.Context(), jobID, ""); err != nil {
		wantCode(t, err, "conflict", "")
	}
	o := g.await(t, jobID)
	switch o.Status {
	case apiv1.StatusCompleted:
		if files := g.workspace(t, jobID); len(files) != 1500 {
			t.Errorf("%d files are kept", len(files))
		}
	case apiv1.StatusCancelled:
	default:
		t.Errorf("status %s, error %+v", o.Status, o.Error)
	}
	next := g.run(t, "say hello")
	next.wantStatus(t, apiv1.StatusCompleted, "")
}

// A gateway whose sandbox does not work must not say that it is ready.
func TestAGatewayWithoutASandboxIsNeverReady(t *testing.T) {
	t.Parallel()
	embeddedOnly(t, "codexgw up ends there")
	refused(t, options{data: dataDir(t), codex: fakeWith(t, "no-sandbox")}, "", "sandbox")
}
