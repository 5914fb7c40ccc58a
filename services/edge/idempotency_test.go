package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/edge/internal/edgetest"
)

// publicly makes the links in answers the same on every instance.
func publicly(c *edge.Config) { c.PublicURL = "https://gw.example.com" }

// submitted is what came of one submit.
type submitted struct {
	answer
	status   int
	replayed bool
}

// submit posts a prompt with the one key of these tests; form says where it is.
func (g *gateway) submit(form, prompt string) submitted {
	g.t.Helper()
	const key = "k"
	header, param := map[string]string{}, ""
	switch form {
	case "bare":
		header["Idempotency-Key"] = key
	case "quoted":
		header["Idempotency-Key"] = `"` + key + `"`
	case "param":
		param = fmt.Sprintf(`,"idempotency_key":%q`, key)
	}
	r := g.request(http.MethodPost, "/jsonrpc", header,
		fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":{"prompt":%q%s}}`, prompt, param))
	return submitted{decode[answer](g.t, r.body), r.status, r.header.Get("Idempotency-Replayed") == "true"}
}

// tally is what came of many submits with one key.
type tally struct {
	mu      sync.Mutex
	results map[string]int // by result
	fresh   int            // not marked as replayed
	refused int            // -32007
}

func (c *tally) add(t *testing.T, s *submitted) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.status != http.StatusOK:
		t.Errorf("status %d", s.status)
	case s.Error != nil && s.Error.Code == -32007:
		c.refused++
	case s.Error != nil:
		t.Errorf("%+v", s.Error)
	default:
		c.results[string(s.Result)]++
		if !s.replayed {
			c.fresh++
		}
	}
}

// TestDuplicatesMeetOnTwoEdges: whatever instance they come to, in whatever form
// the key is, at the same time: one job, one first answer, and the same words
// for all. A restart changes nothing.
func TestDuplicatesMeetOnTwoEdges(t *testing.T) {
	t.Parallel()
	env := edgetest.Open(t)
	edges := []*gateway{startOn(t, env, publicly), startOn(t, env.Twin(t), publicly)}
	forms := []string{"bare", "quoted", "param"}
	c := &tally{results: map[string]int{}}
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			s := edges[i%2].submit(forms[i%3], "once")
			c.add(t, &s)
		})
	}
	all.Wait()
	if len(c.results) != 1 || c.fresh != 1 || c.refused != 0 {
		t.Fatalf("%d different answers, %d first ones, %d refused", len(c.results), c.fresh, c.refused)
	}
	jobs, _, err := env.Jobs.List(t.Context(), edgetest.Tenant, job.Filter{})
	if err != nil || len(jobs) != 1 {
		t.Fatalf("%d jobs, %v", len(jobs), err)
	}
	edgetest.Complete(t, env.Claim(t, jobs[0].ID), "done")
	for _, g := range edges {
		g.stop()
	}
	again := startOn(t, env.Restart(t), publicly)
	for _, form := range forms {
		s := again.submit(form, "once")
		if c.results[string(s.Result)] == 0 || !s.replayed {
			t.Errorf("%s, after a restart: replayed %t, %s", form, s.replayed, s.Result)
		}
		if s := again.submit(form, "twice"); s.Error == nil || s.Error.Code != -32007 || s.status != http.StatusOK || s.replayed {
			t.Errorf("%s, other params: %+v", form, s)
		}
	}
}

// TestOneOfTwoWishesWins: two submits of different prompts race for one key. The
// prompt that has it is answered, the other refused, on every instance.
func TestOneOfTwoWishesWins(t *testing.T) {
	t.Parallel()
	env := edgetest.Open(t)
	edges := []*gateway{startOn(t, env, publicly), startOn(t, env.Twin(t), publicly)}
	c := &tally{results: map[string]int{}}
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			s := edges[i%2].submit("bare", []string{"left", "right"}[i/2%2])
			c.add(t, &s)
		})
	}
	all.Wait()
	if len(c.results) != 1 || c.fresh != 1 || c.refused != 8 {
		t.Errorf("%d different answers, %d first ones, %d of 8 refused", len(c.results), c.fresh, c.refused)
	}
}

func TestDuplicatesInOneBatch(t *testing.T) {
	t.Parallel()
	g := start(t)
	one := `{"jsonrpc":"2.0","id":%d,"method":"conversation.prompt","params":{"prompt":%q,"idempotency_key":%q}}`
	batch := "[" + strings.Join([]string{
		fmt.Sprintf(one, 1, "a", "k1"), fmt.Sprintf(one, 2, "a", "k1"), fmt.Sprintf(one, 3, "a", "k2"),
	}, ",") + "]"
	r := g.request(http.MethodPost, "/jsonrpc", nil, batch)
	ids := make([]string, 3)
	for i, a := range decode[[]answer](t, r.body) {
		if a.Error != nil {
			t.Fatalf("%+v", a.Error)
		}
		ids[i] = decode[apiv1.Accepted](t, a.Result).JobID
	}
	if ids[0] != ids[1] || ids[0] == ids[2] {
		t.Errorf("jobs %v, want one for each key", ids)
	}
	if r.header.Get("Idempotency-Replayed") != "true" {
		t.Error("that one of the batch was replayed is not marked")
	}
}

// TestIdempotencyKeyForms: a key that cannot be what the client meant is refused.
func TestIdempotencyKeyForms(t *testing.T) {
	t.Parallel()
	g := start(t)
	for form, want := range map[string]int{
		`plain`: 0, `"quoted"`: 0, `"with \"quotes\" and \\"`: 0, `8e03978e-40d5-43dd-bc93-6894a57f9324`: 0,
		`""`: -32602, `"open`: -32602, `"a"b"`: -32602, `"bad \escape"`: -32602, `"a";p=1`: -32602, "\u00e9": -32602,
		strings.Repeat("k", 255): 0, strings.Repeat("k", 256): -32602,
	} {
		t.Run(form[:min(len(form), 30)], func(t *testing.T) {
			t.Parallel()
			r := g.request(http.MethodPost, "/jsonrpc", map[string]string{"Idempotency-Key": form},
				`{"jsonrpc":"2.0","id":1,"method":"conversation.prompt","params":{"prompt":"x"}}`)
			a := decode[answer](t, r.body)
			if want == 0 && a.Error != nil || want != 0 && (a.Error == nil || a.Error.Code != want || a.Error.Data["field"] != "/idempotency_key") {
				t.Errorf("%s", r.body)
			}
		})
	}
}
