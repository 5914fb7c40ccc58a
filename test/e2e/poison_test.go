package e2e_test

import (
	"maps"
	"strings"
	"testing"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/id"
)

func TestPoisonGoesToTheDeadLetter(t *testing.T) {
	t.Parallel()
	cloudOnly(t, "nobody but the gateway publishes on the embedded platform")
	g := start(t, options{
		codex: fakePackage(t),
		env: map[string]string{
			"CODEXGW_ALLOW_UNSANDBOXED": "true", "CODEXGW_WORKER_CONCURRENCY": "1",
		},
	})
	client := g.pubSub(t)
	head := func(eventType string) map[string]string {
		return map[string]string{
			"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/elsewhere", "ce-type": eventType, "content-type": "application/json", "ce-lane": "short",
		}
	}
	submitted := head("dev.codexgateway.job.submitted.v1")
	jobID := id.New(id.Job)
	want := map[string]gcptest.Message{
		"no CloudEvent": {Data: []byte("hello"), Attributes: map[string]string{"a": "b"}},
		"specversion":   {Data: []byte("{}"), Attributes: with(submitted, "ce-specversion", "9.9")},
		"foreign":       {Data: []byte(`{"x":1}`), Attributes: head("com.example.thing.happened.v1")},
		"undecodable":   {Data: []byte(`{"job_id":`), Attributes: submitted},
		"no such job":   {Data: []byte(`{"job_id":"` + jobID + `","tenant":"default","lane":"short"}`), Attributes: with(submitted, "ce-subject", jobID)},
	}
	for _, m := range want {
		if err := client.Publish(t.Context(), events.TopicJobCommands, m); err != nil {
			t.Fatal(err)
		}
	}
	var dead []gcptest.Message
	dlq := func(subscription string) []gcptest.Message {
		t.Helper()
		found, err := client.Pull(t.Context(), subscription, 100)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	eventually(t, "all are dead letters", func() bool {
		dead = append(dead, dlq(events.SubJobCommandsWorker+".dlq")...)
		return len(dead) >= len(want)
	})
	// The worker goes on, and nothing comes back.
	for range 2 {
		o := g.runWith(t, apiv1.PromptParams{Prompt: "fake:hello"})
		o.wantStatus(t, apiv1.StatusCompleted, "")
	}
	dead = append(dead, dlq(events.SubJobCommandsWorker+".dlq")...)
	for _, m := range dead {
		reason := m.Attributes["dlqreason"] + m.Attributes["ce-dlqreason"]
		from := m.Attributes["dlqsubscription"] + m.Attributes["ce-dlqsubscription"]
		t.Logf("dead letter %q: %v", reason, m.Attributes)
		for name, w := range want {
			if string(w.Data) == string(m.Data) && reason != "" && from == events.SubJobCommandsWorker {
				delete(want, name)
			}
		}
	}
	if len(want) > 0 || len(dead) != 5 {
		t.Errorf("%d dead letters, without those for %v", len(dead), want)
	}
	if n := strings.Count(g.log(), "hello"); n > 0 {
		t.Error("the log quotes a message")
	}
}

// with is a copy with one more entry.
func with(m map[string]string, key, value string) map[string]string {
	m = maps.Clone(m)
	m[key] = value
	return m
}
