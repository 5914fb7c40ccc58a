package e2e_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/secret"
)

// model is a mock model of the test's own, to see what the gateway asks it.
func model(t *testing.T, opt mockmodel.Options) *mockmodel.Running {
	t.Helper()
	m, err := mockmodel.Start(context.WithoutCancel(t.Context()), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = m.Stop(ctx) // connections of a killed gateway may hold it
	})
	return m
}

// modelKey is a key that a model of the test's own asks for.
const modelKey = "sk-e2e-key-of-a-model"

// ownModel is a gateway's environment for such a model.
func ownModel(m *mockmodel.Running) map[string]string {
	return map[string]string{"CODEXGW_MODEL_BASE_URL": m.BaseURL(), "CODEXGW_SECRET_OPENAI_API_KEY": modelKey}
}

// threadOf is the id of the Codex thread a job ran in.
func threadOf(t *testing.T, o *outcome) string {
	t.Helper()
	started := o.codexParams("turn/started")
	if len(started) == 0 {
		t.Fatalf("%s: no turn started", o.JobID)
	}
	var p map[string]any
	if err := json.Unmarshal(started[0], &p); err != nil {
		t.Fatal(err)
	}
	id, _ := p["threadId"].(string)
	if id == "" {
		t.Fatalf("%s: a turn without a thread: %s", o.JobID, started[0])
	}
	return id
}

func TestAConversationGoesOnAcrossJobsAndRestarts(t *testing.T) {
	t.Parallel()
	m := model(t, mockmodel.Options{Token: secret.NewValue(modelKey), Record: 100})
	g := start(t, options{wide: true, realModel: true, env: ownModel(m)})
	const session = "talk"
	var ids []string
	for _, prompt := range []string{
		"mock: shell echo one >> story.txt\nmock: say answer-one",
		"mock: shell echo two >> story.txt\nmock: say answer-two",
		"mock: shell echo three >> story.txt\nmock: say answer-three",
	} {
		ids = append(ids, g.submit(t, apiv1.PromptParams{Prompt: prompt, SessionID: session}))
	}
	var all []outcome
	for _, id := range ids {
		all = append(all, g.await(t, id))
	}
	g.terminate(t)
	g.up(t)
	ids = append(ids, g.submit(t, apiv1.PromptParams{Prompt: "mock: shell cat story.txt > copy.txt\nmock: say answer-four", SessionID: session}))
	all = append(all, g.await(t, ids[3]))

	for i := range all {
		o := &all[i]
		o.wantStatus(t, apiv1.StatusCompleted, "")
		if threadOf(t, o) != threadOf(t, &all[0]) || o.ConversationID != all[0].ConversationID {
			t.Errorf("job %d runs in another thread or conversation", i+1)
		}
		if i > 0 && o.StartedAt < all[i-1].EndedAt {
			t.Errorf("job %d started at %s, before job %d ended at %s", i+1, o.StartedAt, i, all[i-1].EndedAt)
		}
	}
	if files := g.workspace(t, ids[3]); files["copy.txt"] != "one\ntwo\nthree\n" {
		t.Errorf("the workspace was not kept: %q", files)
	}
	requests := m.Server.Requests()
	last := string(requests[len(requests)-1].Body)
	at := 0
	for _, answer := range []string{"answer-one", "answer-two", "answer-three", "story.txt > copy.txt"} {
		i := strings.LastIndex(last, answer)
		if i < at {
			t.Errorf("the model was not told %q, or not in order", answer)
		}
		at = i
	}
	list, err := g.ListJobs(t.Context(), apiv1.JobListParams{SessionID: session})
	if err != nil || len(list.Jobs) != len(ids) {
		t.Fatalf("list: %v, %d jobs", err, len(list.Jobs))
	}
	for i := range list.Jobs {
		if list.Jobs[i].JobID != ids[len(ids)-1-i] {
			t.Errorf("the list is not newest first")
		}
	}
}

func TestDifferentConversationsRunSideBySide(t *testing.T) {
	t.Parallel()
	g := shared(t)
	first := g.submit(t, apiv1.PromptParams{Prompt: "mock: hang", SessionID: "side-a"})
	g.awaitEvent(t, first, "the turn starts", saysMethod("turn/started"))
	o := g.runWith(t, apiv1.PromptParams{Prompt: "say hello", SessionID: "side-b"})
	o.wantStatus(t, apiv1.StatusCompleted, "")
	var status apiv1.ConversationStatus
	if err := g.Call(t.Context(), apiv1.MethodConversationStatus, apiv1.ConversationRef{SessionID: "side-a"}, &status); err != nil {
		t.Fatal(err)
	}
	if status.Status != "active" || status.CurrentJob == nil || status.CurrentJob.JobID != first {
		t.Errorf("conversation.status = %+v", status)
	}
	var cancelled apiv1.ConversationCancelResult
	if err := g.Call(t.Context(), apiv1.MethodConversationCancel, apiv1.ConversationRef{SessionID: "side-a"}, &cancelled); err != nil {
		t.Fatal(err)
	}
	if len(cancelled.CancelledJobs) != 1 || cancelled.CancelledJobs[0] != first {
		t.Errorf("conversation.cancel = %+v", cancelled)
	}
	o = g.await(t, first)
	o.wantStatus(t, apiv1.StatusCancelled, "")
}
