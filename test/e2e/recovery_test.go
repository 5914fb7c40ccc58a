package e2e_test

import (
	"strings"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/secret"
)

// killedInTheMiddle runs a prompt, kills the gateway while the model speaks and
// starts it again.
func killedInTheMiddle(t *testing.T, g *gateway, params apiv1.PromptParams) outcome {
	t.Helper()
	jobID := g.submit(t, params)
	g.awaitEvent(t, jobID, "the message begins", saysMethod("item/agentMessage/delta"))
	g.kill(t)
	g.up(t)
	o := g.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCompleted, "")
	if o.Attempt != 2 || count(o.events, eventlog.TypeRetrying) != 1 {
		t.Errorf("attempt %d, %d × retrying", o.Attempt, count(o.events, eventlog.TypeRetrying))
	}
	return o
}

// threads are the Codex threads of a job's attempts.
func threads(t *testing.T, o *outcome) (first, last string) {
	t.Helper()
	begun := o.codexParams("turn/started")
	if len(begun) != 2 {
		t.Fatalf("%d turns, want one for each attempt", len(begun))
	}
	rest := *o
	for i, e := range o.events {
		if e.Type == eventlog.TypeRetrying {
			rest.events = o.events[i:]
		}
	}
	return threadOf(t, o), threadOf(t, &rest)
}

func TestARetryStartsFromWhatTheLastJobLeft(t *testing.T) {
	t.Parallel()
	m := model(t, mockmodel.Options{Token: secret.NewValue(modelKey), Record: 200})
	env := ownModel(m)
	env["CODEXGW_LEASE"] = lease.String()
	g := start(t, options{wide: true, realModel: true, env: env})
	const session = "retried"
	prompt := func(word string) apiv1.PromptParams {
		return apiv1.PromptParams{SessionID: session, Prompt: "mock: shell echo " + word + " >> log.txt\n" + chatty}
	}
	// No job came before: the retry knows nothing of the attempt that died.
	first := killedInTheMiddle(t, g, prompt("first"))
	dead, thread := threads(t, &first)
	if dead == thread {
		t.Error("the retry of a first job goes on in the thread of the attempt that died")
	}
	// One came before: its thread goes on, without the attempt that died.
	second := killedInTheMiddle(t, g, prompt("second"))
	for _, got := range second.codexParams("turn/started") {
		if !strings.Contains(string(got), thread) {
			t.Errorf("a turn outside of the conversation's thread %s: %s", thread, got)
		}
	}
	if files := g.workspace(t, second.JobID); files["log.txt"] != "first\nsecond\n" {
		t.Errorf("the workspace holds %q, want each effect once", files)
	}
	requests := m.Server.Requests()
	last := string(requests[len(requests)-1].Body)
	for _, word := range []string{"first", "second"} {
		// Once in the prompt and once in the call.
		if n := strings.Count(last, "echo "+word+" "); n != 2 {
			t.Errorf("the model was told of the %s job %d times, want 2", word, n)
		}
	}
}

func TestNothingOfAJobSurvivesItsKilledWorker(t *testing.T) {
	t.Parallel()
	needProc(t)
	g := start(t, options{env: map[string]string{"CODEXGW_LEASE": lease.String()}})
	command, marker := sleeper()
	jobID := g.submit(t, apiv1.PromptParams{Prompt: "mock: shell " + command + "\nmock: hang"})
	eventually(t, "the job's commands run", func() bool { return len(marked(marker)) >= 3 })
	g.kill(t)
	if left := marked(marker); len(left) > 0 {
		t.Errorf("processes outlive the worker: %v", left)
	}
	g.up(t)
	g.awaitEvent(t, jobID, "the second attempt", func(e apiv1.Event) bool { return e.Type == eventlog.TypeStarted && e.Attempt == 2 })
	if _, err := g.CancelJob(t.Context(), jobID, ""); err != nil {
		t.Fatal(err)
	}
	o := g.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCancelled, "")
	wantNothingLeft(t, g, marker)
}
