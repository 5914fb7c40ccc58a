package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/gcp/gcptest"
)

const pushRoute = "/push/" + events.SubJobCommandsWorkerShort

// short is a job of lane short, which is one of 480 s at most.
func short(prompt string) apiv1.PromptParams {
	return apiv1.PromptParams{Prompt: prompt, TimeoutS: 480}
}

// pushed starts a gateway on the fake Codex whose worker is pushed to.
func pushed(t *testing.T, worker map[string]string) *gateway {
	t.Helper()
	env := map[string]string{
		"CODEXGW_INTAKE": "push", "CODEXGW_LANES": "short", "CODEXGW_PUSH_SUBSCRIPTIONS": events.SubJobCommandsWorkerShort,
	}
	maps.Copy(env, worker)
	return start(t, options{
		codex: fakePackage(t), env: map[string]string{"CODEXGW_ALLOW_UNSANDBOXED": "true"},
		deploy: deployment{lanes: true, env: map[string]map[string]string{"worker": env}},
	})
}

// pubSub is a client of the gateway's project on the Pub/Sub emulator.
func (g *gateway) pubSub(t *testing.T) *gcptest.PubSubClient {
	t.Helper()
	c, err := g.project.PubSub()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// push sends a request to a node as Pub/Sub pushes a message, and returns the
// status; 0: no answer.
func push(ctx context.Context, n *node, m *gcptest.Message, token string) (int, http.Header) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url()+pushRoute, strings.NewReader(string(m.Data)))
	if err != nil {
		return 0, nil
	}
	for k, v := range m.Attributes {
		req.Header.Set(k, v)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header
}

// wantQueued checks that nobody has begun a job.
func (g *gateway) wantQueued(t *testing.T, jobID string) {
	t.Helper()
	j, err := g.GetJob(t.Context(), jobID)
	if err != nil {
		t.Fatal(err)
	}
	if j.Status != apiv1.StatusQueued || j.Attempt > 1 || j.StartedAt != "" {
		t.Errorf("%s is %s, attempt %d, started %q; want it queued", jobID, j.Status, j.Attempt, j.StartedAt)
	}
}

// began reports whether an event is the start of an attempt.
func began(attempt int) func(apiv1.Event) bool {
	return func(e apiv1.Event) bool { return e.Type == eventlog.TypeStarted && e.Attempt == attempt }
}

func TestPushedJobs(t *testing.T) {
	t.Parallel()
	cloudOnly(t, "nobody pushes on the embedded platform")
	const slots = 2
	g := pushed(t, map[string]string{"CODEXGW_PUSH_AUTH": "none", "CODEXGW_WORKER_CONCURRENCY": fmt.Sprint(slots)})
	w := g.nodesOf("worker")[0]
	// The first is there before anybody pushes.
	first := g.submit(t, short("fake:say first"))
	if err := g.pubSub(t).PushTo(t.Context(), events.SubJobCommandsWorkerShort, w.url()+pushRoute); err != nil {
		t.Fatal(err)
	}
	o := g.await(t, first)
	o.wantStatus(t, apiv1.StatusCompleted, "")
	if o.Content != "first" {
		t.Errorf("content %q", o.Content)
	}

	// One of lane long stays where it is, although the emulator pushes it too.
	params := short("fake:hello")
	params.TimeoutS++
	long := g.submit(t, params)
	o = g.runWith(t, short("fake:hello"))
	o.wantStatus(t, apiv1.StatusCompleted, "")
	g.wantQueued(t, long)

	// More than there are slots: one that comes now is refused, none is lost.
	var ids []string
	for range slots {
		ids = append(ids, g.submit(t, short("fake:silence"))) // it has its slot as long as the test wants
	}
	for _, id := range ids {
		g.awaitEvent(t, id, "the job begins", began(1))
	}
	held := ids
	ids = append(ids, g.submit(t, short("fake:hello")), g.submit(t, short("fake:hello")))
	status, header := push(t.Context(), w, &gcptest.Message{Attributes: map[string]string{"ce-id": "x"}}, "")
	if status != http.StatusTooManyRequests || header.Get("Retry-After") == "" {
		t.Errorf("a push to a full worker: %d %v", status, header)
	}
	for _, id := range held {
		if _, err := g.CancelJob(t.Context(), id, ""); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range ids {
		o := g.await(t, id)
		want := apiv1.StatusCompleted
		if i < len(held) {
			want = apiv1.StatusCancelled
		}
		o.wantStatus(t, want, "")
		if o.Attempt != 1 || count(o.events, eventlog.TypeStarted) != 1 {
			t.Errorf("attempt %d, started %d times", o.Attempt, count(o.events, eventlog.TypeStarted))
		}
	}
	g.wantQueued(t, long)
}

func TestPushedJobOfAKilledWorkerGoesOn(t *testing.T) {
	t.Parallel()
	cloudOnly(t, "nobody pushes on the embedded platform")
	g := pushed(t, map[string]string{"CODEXGW_PUSH_AUTH": "none", "CODEXGW_LEASE": lease.String()})
	w := g.nodesOf("worker")[0]
	if err := g.pubSub(t).PushTo(t.Context(), events.SubJobCommandsWorkerShort, w.url()+pushRoute); err != nil {
		t.Fatal(err)
	}
	jobID := g.submit(t, short("fake:slow 200 100"))
	g.awaitEvent(t, jobID, "the message begins", saysMethod("item/agentMessage/delta"))
	w.replace(t)
	o := g.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCompleted, "")
	if o.Attempt != 2 || count(o.events, eventlog.TypeRetrying) != 1 {
		t.Errorf("attempt %d, %d × retrying", o.Attempt, count(o.events, eventlog.TypeRetrying))
	}
}

// replace kills a process and starts it anew.
func (n *node) replace(t *testing.T) {
	t.Helper()
	n.kill(t)
	n.wait(t)
	if err := n.begin(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	if err := n.isReady(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestPushNeedsAToken(t *testing.T) {
	t.Parallel()
	cloudOnly(t, "nobody pushes on the embedded platform")
	const audience, account = "https://worker.example", "pusher@project.iam.gserviceaccount.com"
	keys := gcptest.NewIssuer(t)
	g := pushed(t, map[string]string{
		"CODEXGW_PUSH_AUTH": "verify", "CODEXGW_PUSH_AUDIENCE": audience, "CODEXGW_PUSH_ACCOUNT": account, "CODEXGW_PUSH_KEYS_URL": keys.KeysURL,
	})
	w := g.nodesOf("worker")[0]
	jobID := g.submit(t, short("fake:hello"))
	var message gcptest.Message
	client := g.pubSub(t)
	eventually(t, "the job's message", func() bool {
		found, err := client.Pull(t.Context(), events.SubJobCommandsWorkerShort, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > 0 {
			message = found[0]
		}
		return len(found) > 0
	})
	now := time.Now()
	claims := func(change map[string]any) map[string]any {
		all := map[string]any{
			"iss": "https://accounts.google.com", "aud": audience, "email": account, "email_verified": true, "sub": "1",
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		}
		maps.Copy(all, change)
		return all
	}
	for name, c := range map[string]struct {
		token string
		want  int
	}{
		"no token":           {"", http.StatusUnauthorized},
		"no token at all":    {"x", http.StatusUnauthorized},
		"another audience":   {keys.Token(t, claims(map[string]any{"aud": "https://other.example"})), http.StatusUnauthorized},
		"another account":    {keys.Token(t, claims(map[string]any{"email": "me@evil.example"})), http.StatusForbidden},
		"an unverified one":  {keys.Token(t, claims(map[string]any{"email_verified": false})), http.StatusForbidden},
		"expired":            {keys.Token(t, claims(map[string]any{"exp": now.Add(-time.Hour).Unix()})), http.StatusUnauthorized},
		"another issuer":     {keys.Token(t, claims(map[string]any{"iss": "https://evil.example"})), http.StatusUnauthorized},
		"signed by somebody": {gcptest.NewIssuer(t).Token(t, claims(nil)), http.StatusUnauthorized},
	} {
		if status, _ := push(t.Context(), w, &message, c.token); status != c.want {
			t.Errorf("%s: %d, want %d", name, status, c.want)
		}
	}
	g.wantQueued(t, jobID)
	if status, _ := push(t.Context(), w, &message, keys.Token(t, claims(nil))); status != http.StatusNoContent {
		t.Errorf("a good token: %d", status)
	}
	o := g.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCompleted, "")
}
