package e2e_test

import (
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
)

// span is when a job ran, by its own events.
func span(t *testing.T, events []apiv1.Event) (from, to time.Time) {
	t.Helper()
	for _, e := range events {
		at, err := time.Parse(time.RFC3339Nano, e.Time)
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == eventlog.TypeStarted && from.IsZero() {
			from = at
		}
		to = at
	}
	return from, to
}

func TestATenantRunsAsManyJobsAsItMay(t *testing.T) {
	t.Parallel()
	const limit, jobs = 2, 7
	g := start(t, options{wide: true, env: map[string]string{"CODEXGW_TENANT_RUNNING": "2", "CODEXGW_WORKER_CONCURRENCY": "4"}})
	ids := make([]string, jobs)
	for i := range ids {
		ids[i] = g.submit(t, apiv1.PromptParams{Prompt: "mock: deltas 60 10"})
	}
	from, to := make([]time.Time, jobs), make([]time.Time, jobs)
	for i, id := range ids {
		o := g.await(t, id)
		o.wantStatus(t, apiv1.StatusCompleted, "")
		from[i], to[i] = span(t, o.events)
	}
	for i := range jobs {
		running, before := 0, 0
		for k := range jobs {
			if !from[k].After(from[i]) && to[k].After(from[i]) {
				running++
			}
			if k < i && !to[k].After(from[i]) {
				before++
			}
		}
		if running > limit {
			t.Errorf("%d jobs ran when job %d started, want at most %d", running, i, limit)
		}
		// In order: a place comes free when one that was submitted earlier ends.
		if want := i - limit + 1; before < want {
			t.Errorf("job %d started when %d of those before it had ended, want at least %d", i, before, want)
		}
	}
}

func TestAnOldLogReadsTheSame(t *testing.T) {
	t.Parallel()
	g := start(t, options{env: map[string]string{"CODEXGW_LOG_RETENTION": "2s"}})
	o := g.run(t, "mock: deltas 300 1\n"+changes)
	eventually(t, "the log's documents expire", func() bool {
		for line := range strings.Lines(g.log()) {
			if strings.Contains(line, o.JobID) && strings.Contains(line, `"due_for":"expire"`) {
				return true
			}
		}
		return false
	})
	for _, f := range followAll(t, g, o.JobID)() {
		wantSame(t, f.name, o.events, f.events)
	}
	// A retry of the job goes on in its conversation.
	again, err := g.RetryJob(t.Context(), apiv1.JobRetryParams{JobID: o.JobID})
	if err != nil {
		t.Fatal(err)
	}
	second := g.await(t, again.JobID)
	second.wantStatus(t, apiv1.StatusCompleted, "")
	if second.ConversationID != o.ConversationID || second.RetryOf != o.JobID {
		t.Errorf("the retry is of %q in %q", second.RetryOf, second.ConversationID)
	}
}
