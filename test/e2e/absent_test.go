package e2e_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/test/localcloud"
)

// readiness asks a node on its internal listener; status 0: no answer.
func (n *node) readiness(t *testing.T) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.env["CODEXGW_INTERNAL_ADDR"]+"/ready", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(raw)
}

// wantNotReady waits until every process says 503 and one of the words on each
// line for what is missing.
func (g *gateway) wantNotReady(t *testing.T, words ...string) {
	t.Helper()
	for _, n := range g.nodes {
		body := ""
		eventually(t, n.name+" says what is missing", func() bool {
			var status int
			if status, body = n.readiness(t); status != http.StatusServiceUnavailable {
				return false
			}
			for _, w := range words {
				if !strings.Contains(body, w) {
					return false
				}
			}
			return true
		})
	}
}

// absent starts a gateway on the fake Codex in a project that nobody has set up.
func absent(t *testing.T, on *localcloud.Cloud) *gateway {
	t.Helper()
	env := map[string]map[string]string{}
	for _, service := range []string{"edge", "worker", "reconciler", "notifier"} {
		env[service] = map[string]string{"CODEXGW_INTERNAL_ADDR": freeport.Addr()}
	}
	return start(t, options{
		codex: fakePackage(t), mayFail: true, env: map[string]string{"CODEXGW_ALLOW_UNSANDBOXED": "true"},
		deploy: deployment{on: on, absent: true, env: env},
	})
}

// arrive sets the project up and waits for every process.
func (g *gateway) arrive(t *testing.T) {
	t.Helper()
	if err := g.project.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.allReady(); err != nil {
		t.Fatal(err)
	}
}

func TestAbsentResourcesAreNamedAndWaitedFor(t *testing.T) {
	t.Parallel()
	cloudOnly(t, "the embedded platform makes what it needs")
	g := absent(t, nil)
	g.wantNotReady(t, "does not exist", "run `codexgw bootstrap`", `"name":"bus","status":"failed"`, "bucket "+g.project.Bucket()+" does not exist")
	for _, n := range g.nodes {
		if !n.runs() {
			t.Errorf("%s has ended", n.name)
		}
	}
	if r := g.get(t, "/ready", nil); r.status != http.StatusServiceUnavailable || strings.Contains(r.body, "bootstrap") {
		t.Errorf("the public /ready: %d %s", r.status, r.body)
	}
	g.arrive(t)
	o := g.run(t, "fake:hello")
	o.wantStatus(t, apiv1.StatusCompleted, "")
	if o.Attempt != 1 {
		t.Errorf("attempt %d", o.Attempt)
	}
}

func TestAbsentEmulatorsComeAndForget(t *testing.T) {
	t.Parallel()
	cloudOnly(t, "the embedded platform has no emulators")
	on, err := localcloud.Reserve(t.Context(), freeport.Addr(), freeport.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := on.Stop(); err != nil {
			t.Error(err)
		}
	})
	g := absent(t, on)
	g.wantNotReady(t, "cannot reach Pub/Sub", "check the network, or the emulator", `"name":"docs","status"`)
	if err := on.Serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.wantNotReady(t, "run `codexgw bootstrap`")
	g.arrive(t)
	o := g.run(t, "fake:hello")
	o.wantStatus(t, apiv1.StatusCompleted, "")

	// Pub/Sub forgets everything while a job runs and another one waits.
	jobID := g.submit(t, apiv1.PromptParams{Prompt: "fake:slow 60 200"})
	wait := followAll(t, g, jobID)
	g.awaitEvent(t, jobID, "the message begins", saysMethod("item/agentMessage/delta"))
	if err := on.PubSub.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.wantNotReady(t, "run `codexgw bootstrap`")
	unheard := g.submit(t, apiv1.PromptParams{Prompt: "fake:hello"}) // nobody can be told
	g.arrive(t)
	for _, id := range []string{jobID, unheard} {
		o := g.await(t, id)
		o.wantStatus(t, apiv1.StatusCompleted, "")
		if o.Attempt != 1 || count(o.events, eventlog.TypeStarted) != 1 {
			t.Errorf("attempt %d, started %d times", o.Attempt, count(o.events, eventlog.TypeStarted))
		}
		if id == jobID {
			for _, f := range wait() {
				wantSame(t, f.name, o.events, f.events)
			}
		}
	}
}
