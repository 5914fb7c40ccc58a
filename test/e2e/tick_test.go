package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/apiv1"
)

// tick posts to a node and returns the status; 0: no answer.
func tick(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/tick", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestTicksRepair(t *testing.T) {
	t.Parallel()
	cloudOnly(t, "the reconciler is no process of its own on the embedded platform")
	g := start(t, options{
		codex: fakePackage(t), env: map[string]string{"CODEXGW_ALLOW_UNSANDBOXED": "true", "CODEXGW_LEASE": lease.String()},
		deploy: deployment{env: map[string]map[string]string{"reconciler": {
			"CODEXGW_RECONCILE_INTAKE": "tick", "CODEXGW_TICK_FOR": "30m", "CODEXGW_RECONCILE_INTERVAL": "200ms",
		}}},
	})
	reconciler, w := g.nodesOf("reconciler")[0], g.nodesOf("worker")[0]
	if status := tick(t, reconciler.url()); status != http.StatusNoContent {
		t.Errorf("a tick of an idle gateway: %d", status)
	}
	jobID := g.submit(t, apiv1.PromptParams{Prompt: "fake:silence"}) // it runs as long as the test wants
	g.awaitEvent(t, jobID, "the turn starts", saysMethod("turn/started"))
	w.replace(t)
	// Long after the lease, and with a worker that would take it.
	over := time.NewTimer(lease + 5*time.Second)
	defer over.Stop()
	<-over.C
	j, err := g.GetJob(t.Context(), jobID)
	if err != nil {
		t.Fatal(err)
	}
	if j.Status != apiv1.StatusRunning || j.Attempt != 1 {
		t.Errorf("between ticks: %s, attempt %d", j.Status, j.Attempt)
	}
	ended, status := make(chan struct{}), 0
	go func() { // this one finds the job
		defer close(ended)
		status = tick(t, reconciler.url())
	}()
	g.awaitEvent(t, jobID, "the second attempt", began(2))
	if status := tick(t, reconciler.url()); status != http.StatusNoContent {
		t.Errorf("a tick beside another: %d", status)
	}
	select {
	case <-ended:
		t.Error("the tick beside another waited for it")
	default:
	}
	if _, err := g.CancelJob(t.Context(), jobID, ""); err != nil {
		t.Fatal(err)
	}
	o := g.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCancelled, "")
	if <-ended; status != http.StatusNoContent {
		t.Errorf("a tick with work: %d", status)
	}
	for _, route := range []string{"/tick", "/push/" + events.SubJobCommandsWorker, pushRoute} {
		if r := g.send(t, http.MethodPost, route, "", g.auth()); r.status != http.StatusNotFound {
			t.Errorf("the edge answers POST %s with %d", route, r.status)
		}
	}
	if status := tick(t, w.url()); status != http.StatusNotFound {
		t.Errorf("a worker answers a tick with %d", status)
	}
}
