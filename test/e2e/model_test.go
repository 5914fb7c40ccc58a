package e2e_test

import (
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/freeport"
)

func TestModelFaults(t *testing.T) {
	t.Parallel()
	g := shared(t)
	const ok, failed = apiv1.StatusCompleted, apiv1.StatusFailed
	for name, c := range map[string]struct{ prompt, status, code string }{
		"429 twice":           {"mock: status 429 2 retry-after 1\nmock: say here", ok, ""},
		"503 once":            {"mock: status 503 1\nmock: say here", ok, ""},
		"500 for ever":        {"mock: status 500", failed, "model_unavailable"},
		"401":                 {"mock: status 401", failed, "model_unauthorized"},
		"400":                 {"mock: status 400", failed, "model_rejected"},
		"no quota":            {"mock: status 429 1000 type insufficient_quota", failed, "model_quota_exceeded"},
		"cut once":            {"mock: cut 1\nmock: say here", ok, ""},
		"cut for ever":        {"mock: cut", failed, "model_unavailable"},
		"bad JSON once":       {"mock: bad-json 1\nmock: say here", ok, ""},
		"bad JSON for ever":   {"mock: bad-json", failed, "model_unavailable"},
		"context too long":    {"mock: fail context_length_exceeded", failed, "context_window_exceeded"},
		"429 after a command": {"mock: shell echo x\nmock: status 429 1 retry-after 1\nmock: say here", ok, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := g.run(t, c.prompt)
			o.wantStatus(t, c.status, c.code)
			if c.status == ok && o.Content != "here" {
				t.Errorf("content %q", o.Content)
			}
		})
	}
}

func TestAModelThatCannotBeReachedFailsTheJob(t *testing.T) {
	t.Parallel()
	g := start(t, options{realModel: true, env: map[string]string{
		"CODEXGW_MODEL_BASE_URL": "http://" + freeport.Addr() + "/v1", "CODEXGW_SECRET_OPENAI_API_KEY": modelKey,
	}})
	o := g.run(t, "say hello")
	o.wantStatus(t, apiv1.StatusFailed, "model_unavailable")
}
