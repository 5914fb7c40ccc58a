package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
)

func TestManyJobsEndOnceEach(t *testing.T) {
	t.Parallel()
	jobs := 40
	if onCloud() {
		jobs = 200
	}
	g := start(t, options{wide: true, env: map[string]string{"CODEXGW_WORKER_CONCURRENCY": "4"}})
	ids := make([]string, jobs)
	for i := range ids {
		ids[i] = g.submit(t, apiv1.PromptParams{Prompt: fmt.Sprintf("mock: say answer %d", i)})
	}
	for i, id := range ids {
		o := g.await(t, id)
		o.wantStatus(t, apiv1.StatusCompleted, "")
		if want := fmt.Sprintf("answer %d", i); o.Content != want || o.Attempt != 1 || count(o.events, eventlog.TypeStarted) != 1 {
			t.Errorf("job %d: content %q, attempt %d, started %d times", i, o.Content, o.Attempt, count(o.events, eventlog.TypeStarted))
		}
	}
	seen := map[string]bool{}
	for cursor := ""; ; {
		page, err := g.ListJobs(t.Context(), apiv1.JobListParams{Limit: 7, Cursor: cursor, Status: apiv1.StatusCompleted})
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Jobs {
			seen[page.Jobs[i].JobID] = true
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if len(seen) != jobs {
		t.Errorf("the list has %d jobs, want %d", len(seen), jobs)
	}
}

func TestManyWatchersSeeTheSame(t *testing.T) {
	t.Parallel()
	const watchers = 20
	g := shared(t)
	jobID := g.submit(t, apiv1.PromptParams{Prompt: "mock: deltas 500 2"})
	ctx, cancel := context.WithTimeoutCause(t.Context(), jobLimit, errors.New("the log did not end"))
	defer cancel()
	results := make(chan following, watchers)
	for i := range watchers {
		name := []string{"websocket", "sse", "ndjson", "long poll"}[i%4]
		go func() {
			events, err := follow(ctx, transports[name], g, jobID, nil)
			results <- following{name, events, err}
		}()
	}
	o := g.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCompleted, "")
	for range watchers {
		f := <-results
		if f.err != nil {
			t.Errorf("%s: %v", f.name, f.err)
			continue
		}
		wantSame(t, f.name, o.events, f.events)
	}
}
