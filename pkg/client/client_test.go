package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/client"
	"codexgateway.dev/pkg/client/clienttest"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/pkg/secret"
)

// open returns a client of url that is closed with the test.
func open(t *testing.T, opt client.Options) *client.Client {
	t.Helper()
	if opt.Key.Empty() {
		opt.Key = secret.NewValue(clienttest.Key)
	}
	if opt.Backoff == nil {
		opt.Backoff = func(int) time.Duration { return time.Millisecond }
	}
	c, err := client.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func testJob() clienttest.Job {
	return clienttest.Job{
		Job: apiv1.Job{JobID: "job_a", ConversationID: "conv_a", Status: apiv1.StatusCompleted, EndedAt: "2026-11-22T18:00:05.000Z"},
		Events: clienttest.Events("job_a", "job.queued", "job.started",
			`codex {"method":"turn/started","params":{}}`, `codex {"method":"turn/completed","params":{}}`, "job.completed"),
		Files: map[string][]byte{"diff.patch": []byte("+hello\n")},
	}
}

func TestNewRefusesWhatIsNoURLOfAGateway(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "127.0.0.1:8080", "ftp://x", "http://", "http://user:pw@x", "http://x?key=1", "://"} {
		if _, err := client.New(client.Options{URL: raw}); err == nil {
			t.Errorf("New(%q): no error", raw)
		} else if strings.Contains(err.Error(), "pw@") || strings.Contains(err.Error(), "key=1") {
			t.Errorf("New(%q) repeats a secret: %v", raw, err)
		}
	}
}

func TestHelpersCallTheirMethods(t *testing.T) {
	t.Parallel()
	g := clienttest.New(t)
	g.Add(testJob())
	c := open(t, client.Options{URL: g.URL + "/"})

	prompted, err := c.Prompt(t.Context(), apiv1.PromptParams{Prompt: "hi", Metadata: map[string]string{"k": "v"}})
	if err != nil || prompted.JobID() != "job_a" || prompted.Accepted == nil || prompted.Replayed {
		t.Errorf("Prompt = %+v, %v", prompted, err)
	}
	if diff := cmp.Diff([]apiv1.PromptParams{{Prompt: "hi", Metadata: map[string]string{"k": "v"}}}, g.Prompts()); diff != "" {
		t.Errorf("params (-want +got):\n%s", diff)
	}
	job, err := c.GetJob(t.Context(), "job_a")
	if err != nil || job.JobID != "job_a" || job.LastSeq != 5 {
		t.Errorf("GetJob = %+v, %v", job, err)
	}
	list, err := c.ListJobs(t.Context(), apiv1.JobListParams{Limit: 10})
	if err != nil || len(list.Jobs) != 1 {
		t.Errorf("ListJobs = %+v, %v", list, err)
	}
	page, err := c.Events(t.Context(), "job_a", 3, 1)
	if err != nil || len(page.Events) != 1 || page.Next != 4 || page.Done {
		t.Errorf("Events = %+v, %v", page, err)
	}
	pong, err := c.Ping(t.Context())
	if err != nil || pong.Status != "ok" {
		t.Errorf("Ping = %+v, %v", pong, err)
	}
	if _, err := c.CancelJob(t.Context(), "job_a", ""); !errors.Is(err, &client.Error{Code: errs.Conflict}) {
		t.Errorf("CancelJob = %v, want conflict", err)
	}
	var raw json.RawMessage
	if err := c.Call(t.Context(), apiv1.MethodSystemPing, nil, &raw); err != nil || !bytes.Contains(raw, []byte(`"ok"`)) {
		t.Errorf("Call into raw = %s, %v", raw, err)
	}
	if err := c.Call(t.Context(), apiv1.MethodSystemPing, nil, nil); err != nil {
		t.Errorf("Call without result = %v", err)
	}
}

func TestErrorsAreTheGatewaysOwn(t *testing.T) {
	t.Parallel()
	g := clienttest.New(t)
	c := open(t, client.Options{URL: g.URL})

	_, err := c.Prompt(t.Context(), apiv1.PromptParams{})
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("err = %v", err)
	}
	want := &client.Error{
		RPC: -32602, Code: errs.InvalidParams, Message: "The prompt is empty.", Field: "/prompt",
		RequestID: "req_test", HTTPStatus: http.StatusOK,
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	stranger := open(t, client.Options{URL: g.URL, Key: secret.NewValue("cgw_test_other")})
	_, err = stranger.Ping(t.Context())
	if !errors.As(err, &e) || e.Code != errs.Unauthenticated || e.HTTPStatus != http.StatusUnauthorized {
		t.Errorf("err = %v, want unauthenticated with 401", err)
	}
}

func TestAnswersOfOthersAreUnreachable(t *testing.T) {
	t.Parallel()
	cases := map[string]http.HandlerFunc{
		"html": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"502 of a proxy": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "bad gateway", http.StatusBadGateway)
		},
		"json, not rpc": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"hello":"world"}`)
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"jsonrpc":`)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
	}
	for name, handler := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			paths := make(chan string, 10)
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				paths <- r.URL.Path
				handler(w, r)
			}))
			defer s.Close()
			c := open(t, client.Options{URL: s.URL})
			if _, err := c.Ping(t.Context()); !errors.Is(err, client.ErrUnreachable) {
				t.Errorf("Ping = %v, want ErrUnreachable", err)
			}
			if got := len(paths); got != 1 {
				t.Errorf("%d requests, want 1: the key must not follow a redirect", got)
			}
		})
	}
}

func TestProblemDocumentsAreErrors(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"title":"Overloaded","status":503,"request_id":"req_1"}`)
	}))
	defer s.Close()
	_, err := open(t, client.Options{URL: s.URL}).Ping(t.Context())
	want := &client.Error{
		Code: errs.Overloaded, Message: "Overloaded", Retryable: true, RequestID: "req_1",
		HTTPStatus: http.StatusServiceUnavailable, RetryAfter: 7 * time.Second,
	}
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("err = %v", err)
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEveryCallHasADeadline(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	c := open(t, client.Options{URL: s.URL, Timeout: 20 * time.Millisecond})
	if _, err := c.Ping(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("Ping = %v, want ErrUnreachable", err)
	}
}

func TestTheCallersOwnEndIsNotUnreachable(t *testing.T) {
	t.Parallel()
	g := clienttest.New(t)
	c := open(t, client.Options{URL: g.URL})
	why := errors.New("the test is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err := c.Ping(ctx)
	if !errors.Is(err, why) || errors.Is(err, client.ErrUnreachable) {
		t.Errorf("Ping = %v, want the cause", err)
	}
}

func TestNobodyListeningIsUnreachable(t *testing.T) {
	t.Parallel()
	c := open(t, client.Options{URL: "http://" + freeport.Addr()})
	if _, err := c.Ping(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("Ping = %v", err)
	}
	if _, err := c.Watch(t.Context(), "job_a", 0, nil); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("Watch = %v", err)
	}
}

func TestDownloadChecksTheSum(t *testing.T) {
	t.Parallel()
	g := clienttest.New(t)
	g.Add(testJob())
	c := open(t, client.Options{URL: g.URL})

	var got bytes.Buffer
	a, err := c.DownloadArtifact(t.Context(), "job_a", "diff.patch", &got)
	if err != nil || got.String() != "+hello\n" || a.Size != 7 {
		t.Errorf("DownloadArtifact = %+v, %q, %v", a, got.String(), err)
	}
	_, err = c.DownloadArtifact(t.Context(), "job_a", "nope", io.Discard)
	if !errors.Is(err, &client.Error{Code: errs.NotFound}) {
		t.Errorf("unknown name: %v, want not_found", err)
	}
	full := errors.New("disk full")
	_, err = c.DownloadArtifact(t.Context(), "job_a", "diff.patch", failingWriter{full})
	if !errors.Is(err, full) || errors.Is(err, client.ErrUnreachable) {
		t.Errorf("failing writer: %v", err)
	}

	corrupt := clienttest.New(t)
	corrupt.CorruptFiles = true
	corrupt.Add(testJob())
	_, err = open(t, client.Options{URL: corrupt.URL}).DownloadArtifact(t.Context(), "job_a", "diff.patch", io.Discard)
	if !errors.Is(err, client.ErrChecksum) {
		t.Errorf("corrupt artifact: %v, want ErrChecksum", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
