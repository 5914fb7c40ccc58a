package e2e_test

import (
	"testing"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
)

// lease is how long a crash costs a test. A shorter one would be lost to a machine
// that is too busy for the heartbeats, and count as another crash.
const lease = 15 * time.Second

// calmLease is the lease where no crash is meant: no machine is too busy for it.
const calmLease = time.Minute

// chatty is a message that takes about 20 s: a worker must be killed in the middle
// of it, also when the news that it has begun comes late, by the edge's look at
// the log every 5 s on a busy machine.
const chatty = "mock: deltas 400 50"

// midway submits a chatty job with a follower on each transport, and returns
// when some of its message is in the log.
func midway(t *testing.T, g *gateway) (jobID string, wait func() []following) {
	t.Helper()
	jobID = g.submit(t, apiv1.PromptParams{Prompt: chatty})
	wait = followAll(t, g, jobID)
	g.awaitEvent(t, jobID, "the message begins", saysMethod("item/agentMessage/delta"))
	return jobID, wait
}

func count(events []apiv1.Event, eventType string) int {
	n := 0
	for _, e := range events {
		if e.Type == eventType {
			n++
		}
	}
	return n
}

func TestAKilledGatewayGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	g := start(t, options{wide: true, env: map[string]string{"CODEXGW_LEASE": lease.String()}})
	before := g.run(t, changes)
	jobID, wait := midway(t, g)
	g.kill(t)
	g.up(t)
	g.awaitEvent(t, jobID, "the second attempt", func(e apiv1.Event) bool { return e.Type == eventlog.TypeStarted && e.Attempt == 2 })
	o := g.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCompleted, "")
	if o.Attempt != 2 || count(o.events, eventlog.TypeRetrying) != 1 || count(o.events, eventlog.TypeStarted) != 2 {
		t.Errorf("attempt %d, %d × retrying, %d × started", o.Attempt, count(o.events, eventlog.TypeRetrying), count(o.events, eventlog.TypeStarted))
	}
	for _, f := range wait() {
		wantSame(t, f.name, o.events, f.events)
	}
	// What was there before the crash is there after it.
	after := g.await(t, before.JobID)
	wantSame(t, "an earlier job", before.events, after.events)
	if files := g.workspace(t, before.JobID); files["made-by-shell.txt"] != "one\n" {
		t.Errorf("an earlier job's workspace: %q", files)
	}
}

func TestAGatewayThatIsStoppedHandsItsJobsBack(t *testing.T) {
	t.Parallel()
	g := start(t, options{wide: true})
	jobID, wait := midway(t, g)
	g.terminate(t)
	g.up(t)
	o := g.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCompleted, "")
	// A worker that is asked to end a moment later may take it and hand it back too.
	if n := count(o.events, eventlog.TypeStarted); o.Attempt != 1 || n < 2 || n > 1+len(g.nodesOf("worker"))+1 {
		t.Errorf("attempt %d, %d × started; want the first attempt to go on", o.Attempt, n)
	}
	for _, f := range wait() {
		wantSame(t, f.name, o.events, f.events)
	}
}

func TestAJobThatKillsItsWorkerFailsInTheEnd(t *testing.T) {
	t.Parallel()
	g := start(t, options{env: map[string]string{"CODEXGW_LEASE": "1s"}})
	jobID := g.submit(t, apiv1.PromptParams{Prompt: "mock: hang"})
	for attempt := 1; attempt <= 3; attempt++ {
		g.awaitEvent(t, jobID, "an attempt", func(e apiv1.Event) bool { return e.Type == eventlog.TypeStarted && e.Attempt == attempt })
		g.kill(t)
		g.up(t)
	}
	o := g.await(t, jobID)
	o.wantStatus(t, apiv1.StatusFailed, "worker_lost")
	if o.Attempt != 3 {
		t.Errorf("attempt %d, want 3", o.Attempt)
	}
}
