package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
)

// outcome is a job that has ended, with its log.
type outcome struct {
	apiv1.Job

	events []apiv1.Event
}

// submit submits a prompt and returns the job's id.
func (g *gateway) submit(t *testing.T, params apiv1.PromptParams) string {
	t.Helper()
	p, err := g.Prompt(t.Context(), params)
	if err != nil {
		t.Fatalf("submit: %v", err)
	}
	if p.Accepted == nil || p.Accepted.Status != apiv1.StatusQueued {
		t.Fatalf("submit: %s", p.Raw)
	}
	return p.Accepted.JobID
}

// run submits a prompt and follows the job to its end.
func (g *gateway) run(t *testing.T, prompt string) outcome {
	t.Helper()
	return g.runWith(t, apiv1.PromptParams{Prompt: prompt})
}

func (g *gateway) runWith(t *testing.T, params apiv1.PromptParams) outcome {
	t.Helper()
	return g.await(t, g.submit(t, params))
}

// await follows a job to its end and checks what is true of every job.
func (g *gateway) await(t *testing.T, jobID string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), jobLimit, errors.New("the job did not end"))
	defer cancel()
	var o outcome
	if _, err := g.Watch(ctx, jobID, 0, func(e apiv1.Event) error {
		o.events = append(o.events, e)
		return nil
	}); err != nil {
		t.Fatalf("watch %s after event %d: %v", jobID, len(o.events), err)
	}
	var err error
	if o.Job, err = g.GetJob(ctx, jobID); err != nil {
		t.Fatal(err)
	}
	checkLog(t, jobID, o.events)
	last := o.events[len(o.events)-1]
	if last.Type != "job."+o.Status || last.Seq != o.LastSeq || o.EndedAt == "" {
		t.Errorf("the log ends with %s %d, the job says %s, last_seq %d, ended %q", last.Type, last.Seq, o.Status, o.LastSeq, o.EndedAt)
	}
	if (o.Status == apiv1.StatusFailed) != (o.Error != nil) {
		t.Errorf("status %s with error %+v", o.Status, o.Error)
	}
	return o
}

// checkLog checks a whole log: dense from 1, queued first, one terminal event
// and that the last, attempts never going back.
func checkLog(t *testing.T, jobID string, events []apiv1.Event) {
	t.Helper()
	if len(events) == 0 {
		t.Fatalf("%s: the log is empty", jobID)
	}
	if events[0].Type != eventlog.TypeQueued {
		t.Errorf("%s: the log begins with %s", jobID, events[0].Type)
	}
	attempt := 0
	for i, e := range events {
		if e.Seq != int64(i+1) || e.JobID != jobID {
			t.Fatalf("%s: event %d has seq %d of job %s", jobID, i+1, e.Seq, e.JobID)
		}
		if eventlog.Terminal(e.Type) != (i == len(events)-1) {
			t.Fatalf("%s: event %d of %d is %s", jobID, i+1, len(events), e.Type)
		}
		if e.Attempt < attempt {
			t.Errorf("%s: event %d goes back from attempt %d to %d", jobID, e.Seq, attempt, e.Attempt)
		}
		attempt = e.Attempt
		if _, err := time.Parse(eventlog.TimeFormat, e.Time); err != nil {
			t.Errorf("%s: event %d: %v", jobID, e.Seq, err)
		}
	}
}

// wantStatus checks how a job ended; code is the job error's, empty without one.
func (o *outcome) wantStatus(t *testing.T, status, code string) {
	t.Helper()
	got := ""
	if o.Error != nil {
		got = o.Error.Code
	}
	if o.Status != status || got != code {
		t.Errorf("%s: status %s, error %+v; want %s %q", o.JobID, o.Status, o.Error, status, code)
	}
}

// codexParams are the params of Codex's notifications of one method.
func (o *outcome) codexParams(method string) []json.RawMessage {
	var all []json.RawMessage
	for _, e := range o.events {
		var data struct {
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
		}
		if e.Type == eventlog.TypeCodex && json.Unmarshal(e.Data, &data) == nil && data.Method == method {
			all = append(all, data.Params)
		}
	}
	return all
}

// awaitEvent waits until the log of a running job holds an event.
func (g *gateway) awaitEvent(t *testing.T, jobID, what string, ok func(apiv1.Event) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), jobLimit, errors.New("it did not come: "+what))
	defer cancel()
	seen := errors.New("seen")
	_, err := g.Watch(ctx, jobID, 0, func(e apiv1.Event) error {
		if ok(e) {
			return seen
		}
		return nil
	})
	if !errors.Is(err, seen) {
		t.Fatalf("%s: %s: %v", jobID, what, err)
	}
}

// saysMethod reports whether an event is Codex's notification of a method.
func saysMethod(method string) func(apiv1.Event) bool {
	return func(e apiv1.Event) bool {
		return e.Type == eventlog.TypeCodex && strings.Contains(string(e.Data), `"method":"`+method+`"`)
	}
}

// artifact downloads an artifact; the client checks its hash.
func (g *gateway) artifact(t *testing.T, jobID, name string) string {
	t.Helper()
	var b strings.Builder
	if _, err := g.DownloadArtifact(t.Context(), jobID, name, &b); err != nil {
		t.Fatalf("artifact %s: %v", name, err)
	}
	return b.String()
}

// reply is an HTTP answer, read.
type reply struct {
	status int
	header http.Header
	body   string
}

// get sends a GET.
func (g *gateway) get(t *testing.T, path string, header map[string]string) reply {
	t.Helper()
	return g.send(t, http.MethodGet, path, "", header)
}

// send sends a request without the key, unless the header has it. Redirects are
// answers.
func (g *gateway) send(t *testing.T, method, path, body string, header map[string]string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	c := http.Client{Timeout: 60 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(raw)}
}

// auth are the headers of a request with the key.
func (g *gateway) auth() map[string]string { return map[string]string{"X-Api-Key": g.key.Reveal()} }
