package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/test/localcloud"
)

func TestPoolFollowsTheJobs(t *testing.T) {
	t.Parallel()
	cloudOnly(t, "the worker pool is Cloud Run's")
	run := gcptest.NewRunAdmin(t)
	g := start(t, options{
		codex: fakePackage(t), env: map[string]string{"CODEXGW_ALLOW_UNSANDBOXED": "true", "CODEXGW_RECONCILE_INTERVAL": "200ms"},
		deploy: deployment{workers: -1, env: map[string]map[string]string{
			"reconciler": {
				"CODEXGW_POOL": "workers", "CODEXGW_REGION": localcloud.Region, "RUN_ADMIN_EMULATOR_HOST": run.Addr,
				"CODEXGW_POOL_JOBS_PER_INSTANCE": "2", "CODEXGW_POOL_MAX": "3", "CODEXGW_POOL_SHRINK_AFTER": "2s",
			},
			// Half of what the pool is sized for, so that two jobs are on two workers
			// although one would do.
			"worker": {"CODEXGW_WORKER_CONCURRENCY": "1"},
		}},
	})
	name := g.project.Run("workerPools", "workers")
	run.SetPool(name, 0)
	var ids []string
	for range 8 {
		ids = append(ids, g.submit(t, apiv1.PromptParams{Prompt: "fake:silence"}))
	}
	size := func(want int64, what string) {
		t.Helper()
		eventually(t, what, func() bool { return run.Instances(name) == want })
	}
	size(3, "the pool grows to its most")
	for range 2 { // Cloud Run is slow with the third
		if err := g.addNode("worker", nil).begin(); err != nil {
			t.Fatal(err)
		}
	}
	var running []string
	eventually(t, "two jobs run", func() bool {
		page, err := g.ListJobs(t.Context(), apiv1.JobListParams{Status: apiv1.StatusRunning})
		if err != nil {
			t.Fatal(err)
		}
		running = nil
		for i := range page.Jobs {
			running = append(running, page.Jobs[i].JobID)
		}
		return len(running) == 2
	})
	cancel := func(id string) {
		t.Helper()
		if _, err := g.CancelJob(t.Context(), id, ""); err != nil {
			t.Fatal(err)
		}
	}
	quiet := time.Now()
	for _, id := range ids {
		if id != running[0] && id != running[1] {
			cancel(id)
		}
	}
	size(2, "the pool shrinks to the workers that run jobs")
	if took := time.Since(quiet); took < 2*time.Second {
		t.Errorf("it shrank after %v", took)
	}
	seen := run.Requests(http.MethodGet)
	eventually(t, "the quiet time passes again", func() bool {
		if n := run.Instances(name); n != 2 {
			t.Fatalf("%d workers while two run jobs", n)
		}
		return run.Requests(http.MethodGet) > seen+12
	})
	cancel(running[0])
	cancel(running[1])
	for _, id := range ids {
		o := g.await(t, id)
		o.wantStatus(t, apiv1.StatusCancelled, "")
	}
	size(0, "the pool shrinks to nothing")
}
