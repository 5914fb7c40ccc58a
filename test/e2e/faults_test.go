package e2e_test

import (
	"testing"

	"codexgateway.dev/pkg/apiv1"
)

func TestACodexThatFailsBeforeTheTurn(t *testing.T) {
	t.Parallel()
	for trait, c := range map[string]struct{ status, code string }{
		"slow-init":    {apiv1.StatusCompleted, ""},
		"crash-init":   {apiv1.StatusFailed, "codex_crashed"},
		"crash-thread": {apiv1.StatusFailed, "codex_crashed"},
		"no-init":      {apiv1.StatusFailed, "stalled"},
		"no-thread":    {apiv1.StatusFailed, "stalled"},
	} {
		t.Run(trait, func(t *testing.T) {
			t.Parallel()
			stall := jobLimit.String() // a slow start is no stall
			if c.code == "stalled" {
				stall = "2s"
			}
			g := start(t, options{codex: fakeWith(t, trait), mayFail: true, env: map[string]string{
				"CODEXGW_ALLOW_UNSANDBOXED": "true", "CODEXGW_STALL_AFTER": stall, "CODEXGW_CANCEL_GRACE": "1s", "CODEXGW_WORKER_WARM": "0",
			}})
			for range 2 { // the first one finds no template of a home either
				o := g.run(t, "fake:hello")
				o.wantStatus(t, c.status, c.code)
			}
			eventually(t, "no directory is left", func() bool { return len(g.slots(t)) == 0 })
		})
	}
}

func TestACodexThatFailsInsideATurn(t *testing.T) {
	t.Parallel()
	g := withFake(t, map[string]string{"CODEXGW_WORKER_CONCURRENCY": "4"})
	each(t, map[string]struct{ prompt, status, code string }{
		"crashes in a command": {"fake:crash-in-command", apiv1.StatusFailed, "codex_crashed"},
		"100 000 deltas":       {"fake:many-deltas 100000", apiv1.StatusCompleted, ""},
		"a line of 20 MB":      {"fake:huge-line 20MB", apiv1.StatusCompleted, ""},
	}, func(t *testing.T, c struct{ prompt, status, code string }) {
		t.Helper()
		o := g.run(t, c.prompt)
		o.wantStatus(t, c.status, c.code)
	})
}

func TestAModelThatKeepsFailing(t *testing.T) {
	t.Parallel()
	g := start(t, options{env: map[string]string{
		"CODEXGW_MODEL_ATTEMPTS": "3", "CODEXGW_MODEL_RETRY_WAIT": "3s", "CODEXGW_STALL_AFTER": "40s", "CODEXGW_CANCEL_GRACE": "1s",
	}})
	each(t, map[string]struct{ prompt, code string }{
		"429":                          {"mock: status 429", "model_rate_limited"},
		"429, come back soon":          {"mock: status 429 1000 retry-after 1", "model_rate_limited"},
		"429, come back in an hour":    {"mock: status 429 1000 retry-after 3600", "model_rate_limited"},
		"429 after a command":          {"mock: shell echo x\nmock: status 429", "model_rate_limited"},
		"502":                          {"mock: status 502", "model_unavailable"},
		"503 with Retry-After":         {"mock: status 503 1000 retry-after 1", "model_unavailable"},
		"529":                          {"mock: status 529", "model_unavailable"},
		"a stream that is always cut":  {"mock: shell echo x\nmock: cut", "model_unavailable"},
		"a stream that falls silent":   {"mock: deltas 5 10 mock: hang", "stalled"},
		"silence before the stream":    {"mock: slow-first 600000\nmock: say never", "stalled"},
		"a failure told in the stream": {"mock: fail server_error", "model_unavailable"},
	}, func(t *testing.T, c struct{ prompt, code string }) {
		t.Helper()
		o := g.run(t, c.prompt)
		o.wantStatus(t, apiv1.StatusFailed, c.code)
	})
	o := g.run(t, "say hello")
	o.wantStatus(t, apiv1.StatusCompleted, "")
}

func TestAModelWhoseNameDoesNotResolve(t *testing.T) {
	t.Parallel()
	g := start(t, options{realModel: true, env: map[string]string{
		"CODEXGW_MODEL_BASE_URL": "http://model.invalid/v1", "CODEXGW_SECRET_OPENAI_API_KEY": modelKey, "CODEXGW_MODEL_ATTEMPTS": "2",
	}})
	o := g.run(t, "say hello")
	o.wantStatus(t, apiv1.StatusFailed, "model_unavailable")
}

func TestACommandThatPrintsFiftyMegabytes(t *testing.T) {
	t.Parallel()
	needProc(t)
	g := start(t, options{})
	for _, command := range []string{"head -c 50000000 /dev/zero | tr '\\0' x", "yes 'a line of output' | head -c 50000000"} {
		o := g.run(t, "mock: shell "+command+"\nmock: say over")
		o.wantStatus(t, apiv1.StatusCompleted, "")
		if o.Content != "over" {
			t.Errorf("content %q", o.Content)
		}
	}
	const most = 400 << 10 // kB
	if kb := g.peak(t); kb > most {
		t.Errorf("the gateway took %d kB at its peak, want at most %d", kb, most)
	}
}
