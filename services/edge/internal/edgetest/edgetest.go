// Package edgetest opens what the edge works on for its tests: the embedded
// platform in a temporary directory and a job store on it, with hands to play
// the worker.
package edgetest

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/embedded"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/schema"
)

// Tenant owns the jobs of the tests.
const Tenant = "default"

// Env is an open platform and its jobs.
type Env struct {
	Platform *platform.Platform
	Jobs     *job.Store
	Log      *slog.Logger

	dir string
}

// pepper is the environment: the secret that keys are stored under.
func pepper(name string) (string, bool) {
	return "0123456789abcdef0123456789abcdef", name == "CODEXGW_SECRET_KEY_PEPPER"
}

// Open opens a platform that closes with the test.
func Open(tb testing.TB) *Env {
	tb.Helper()
	return OpenThrough(tb, nil)
}

// OpenThrough is Open with documents that every operation reaches through what
// wrap returns; nil: directly.
func OpenThrough(tb testing.TB, wrap func(docstore.Driver) docstore.Driver) *Env {
	tb.Helper()
	return open(tb, tb.TempDir(), wrap)
}

// Restart closes the platform and opens it again, as a new process does.
func (e *Env) Restart(tb testing.TB) *Env {
	tb.Helper()
	if err := e.Platform.Close(); err != nil {
		tb.Fatal(err)
	}
	return open(tb, e.dir, nil)
}

// Twin is another instance's view of the same platform.
func (e *Env) Twin(tb testing.TB) *Env {
	tb.Helper()
	jobs, err := job.Open(e.Platform, job.Config{}, job.Opening{Service: "twin", Now: time.Now, Logger: e.Log})
	if err != nil {
		tb.Fatal(err)
	}
	return &Env{Platform: e.Platform, Jobs: jobs, Log: e.Log, dir: e.dir}
}

func open(tb testing.TB, dir string, wrap func(docstore.Driver) docstore.Driver) *Env {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	p, err := embedded.Open(tb.Context(), embedded.Config{Dir: dir, Schema: schema.All(), Logger: log, LookupEnv: pepper})
	if err != nil {
		tb.Fatal(err)
	}
	if wrap != nil {
		if p.Docs, err = docstore.New(wrap(p.Docs), schema.All(), docstore.Options{Logger: log}); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
	})
	jobs, err := job.Open(p, job.Config{}, job.Opening{Service: "test", Now: time.Now, Logger: log})
	if err != nil {
		tb.Fatal(err)
	}
	return &Env{Platform: p, Jobs: jobs, Log: log, dir: dir}
}

// Submit stores a job.
func (e *Env) Submit(tb testing.TB, sub job.Submission) *job.Job {
	tb.Helper()
	if sub.Tenant == "" {
		sub.Tenant = Tenant
	}
	if sub.Spec.Prompt == "" {
		sub.Spec.Prompt = "hello"
	}
	j, _, err := e.Jobs.Submit(tb.Context(), sub)
	if err != nil {
		tb.Fatal(err)
	}
	return j
}

// Claim starts a job as a worker does.
func (e *Env) Claim(tb testing.TB, jobID string) *job.Held {
	tb.Helper()
	h, err := e.Jobs.Claim(tb.Context(), jobID, job.ClaimOptions{
		Worker: "wrk_test", Lease: time.Minute, DeltaDelay: time.Millisecond,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { h.Abandon(context.Canceled) })
	return h
}

// Say appends a Codex notification to the log of a running job.
func Say(tb testing.TB, h *job.Held, method, params string) {
	tb.Helper()
	err := h.Log.Append(tb.Context(), eventlog.Entry{
		Type: eventlog.TypeCodex, Time: time.Now(), Data: eventlog.CodexData(method, json.RawMessage(params)),
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// Chatter appends the notification again and again, 100 times a second by the
// clock of the bubble it is called in, until stop is called.
func Chatter(tb testing.TB, h *job.Held, method, params string) (stop func()) {
	tb.Helper()
	over := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(10 * time.Millisecond):
				Say(tb, h, method, params)
			}
		}
	})
	return func() {
		close(over)
		running.Wait()
	}
}

// Complete ends a job with an answer.
func Complete(tb testing.TB, h *job.Held, content string) {
	tb.Helper()
	if err := h.Finish(tb.Context(), job.Result{State: job.Completed, Content: content, Model: "mock"}); err != nil {
		tb.Fatal(err)
	}
}
