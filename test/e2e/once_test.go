package e2e_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/test/localcloud"
)

// executor is Cloud Run as the reconciler sees it, and as it starts workers of
// one job: by hand of the test.
type executor struct {
	*gateway
	*gcptest.RunAdmin

	// used are the executions that have a process.
	used int
}

const executionJob = "long-jobs"

// executing starts a gateway whose jobs of lane long get executions, another one
// when a job was not claimed within retry.
func executing(t *testing.T, retry time.Duration) *executor {
	t.Helper()
	run := gcptest.NewRunAdmin(t)
	g := start(t, options{
		codex: fakePackage(t), mayFail: true,
		env: map[string]string{"CODEXGW_ALLOW_UNSANDBOXED": "true", "CODEXGW_LEASE": lease.String()},
		deploy: deployment{lanes: true, workers: -1, env: map[string]map[string]string{"reconciler": {
			"CODEXGW_EXECUTION_JOB": executionJob, "CODEXGW_REGION": localcloud.Region, "RUN_ADMIN_EMULATOR_HOST": run.Addr,
			"CODEXGW_EXECUTION_RETRY": retry.String(),
		}}},
	})
	run.AddJob(g.project.Run("jobs", executionJob))
	return &executor{gateway: g, RunAdmin: run}
}

// next waits for the next order of an execution.
func (x *executor) next(t *testing.T) gcptest.Execution {
	t.Helper()
	eventually(t, "another execution is ordered", func() bool { return len(x.Executions()) > x.used })
	x.used++
	return x.Executions()[x.used-1]
}

// execute starts the process of an execution.
func (x *executor) execute(t *testing.T, e gcptest.Execution) *node {
	t.Helper()
	env := map[string]string{"CODEXGW_INTAKE": "once"}
	maps.Copy(env, e.Env)
	n := x.addNode("worker", env)
	if err := n.begin(); err != nil {
		t.Fatal(err)
	}
	return n
}

// wantDone waits for a process that ends by itself.
func (n *node) wantDone(t *testing.T) {
	t.Helper()
	n.wait(t)
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%s ended with %d", n.name, code)
	}
}

// long is a job of lane long.
func long(prompt string) apiv1.PromptParams {
	return apiv1.PromptParams{Prompt: prompt, TimeoutS: 3600}
}

func TestOnceAnExecutionForALongJob(t *testing.T) {
	t.Parallel()
	cloudOnly(t, "executions are Cloud Run's")
	x := executing(t, jobLimit)
	jobID := x.submit(t, long("fake:slow 20 100"))
	e := x.next(t)
	if e.Env["CODEXGW_JOB_ID"] != jobID || len(e.Env) != 1 {
		t.Errorf("the execution got %v", e.Env)
	}
	first := x.execute(t, e)
	x.awaitEvent(t, jobID, "the job begins", began(1))
	beside := x.execute(t, e) // started twice: Cloud Run may
	beside.wantDone(t)
	o := x.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCompleted, "")
	first.wantDone(t)
	after := x.execute(t, e)
	after.wantDone(t)
	again := x.await(t, jobID)
	wantSame(t, "the log after more executions", o.events, again.events)
	if o.Attempt != 1 || count(o.events, eventlog.TypeStarted) != 1 {
		t.Errorf("attempt %d, started %d times", o.Attempt, count(o.events, eventlog.TypeStarted))
	}
	if n := len(x.Executions()); n != 1 {
		t.Errorf("%d executions were ordered for one job", n)
	}
	x.wantQueued(t, x.submit(t, short("fake:hello")))
}

func TestOnceAnExecutionIsLost(t *testing.T) {
	t.Parallel()
	cloudOnly(t, "executions are Cloud Run's")
	// What is lost is known by its lease, so no order is made again before.
	x := executing(t, jobLimit)
	jobID := x.submit(t, long("fake:silence")) // it runs as long as the test wants
	n := x.execute(t, x.next(t))
	x.awaitEvent(t, jobID, "the turn starts", saysMethod("turn/started"))
	n.kill(t)
	n = x.execute(t, x.next(t))
	x.awaitEvent(t, jobID, "the second attempt", began(2))
	if _, err := x.CancelJob(t.Context(), jobID, ""); err != nil {
		t.Fatal(err)
	}
	o := x.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCancelled, "")
	if o.Attempt != 2 || count(o.events, eventlog.TypeRetrying) != 1 {
		t.Errorf("attempt %d, %d × retrying", o.Attempt, count(o.events, eventlog.TypeRetrying))
	}
	n.wantDone(t)
}

func TestOnceTheRunAdminAPIFails(t *testing.T) {
	t.Parallel()
	cloudOnly(t, "executions are Cloud Run's")
	x := executing(t, jobLimit)
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusForbidden} {
		x.Fail(gcptest.Fault{Method: http.MethodPost, Path: executionJob, Status: status})
		jobID := x.submit(t, long("fake:hello"))
		n := x.execute(t, x.next(t))
		o := x.await(t, jobID)
		o.wantStatus(t, apiv1.StatusCompleted, "")
		n.wantDone(t)
	}
	if n := x.Requests(http.MethodPost); n != 4 {
		t.Errorf("%d orders, want two that failed and two that did not", n)
	}
	log := x.nodesOf("reconciler")[0].stderr.String()
	if n := strings.Count(log, "execution not started"); n != 2 || !strings.Contains(log, `"severity":"WARNING"`) {
		t.Errorf("%d lines about executions that were not started", n)
	}
	// Nothing was given up.
	dead, err := x.pubSub(t).Pull(t.Context(), events.SubJobCommandsWorkerLong+".dlq", 10)
	if err != nil || len(dead) > 0 {
		t.Errorf("dead letters %v, %v", dead, err)
	}
}
