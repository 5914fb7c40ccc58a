package worker_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"codexgateway.dev/pkg/embedded"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/services/worker"
	"codexgateway.dev/services/worker/codexversion"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dataDir is a directory for Codex, which refuses to work under the temporary
// directory.
func dataDir(t *testing.T) string {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(base, "codexgw-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestARealCodexRunsAJob(t *testing.T) {
	t.Parallel()
	if _, err := codexversion.Locate(""); err != nil {
		t.Skip("the Codex CLI is not installed: run make setup")
	}
	dir := dataDir(t)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	p, err := embedded.Open(t.Context(), embedded.Config{Dir: filepath.Join(dir, "data"), Schema: schema.All(), Logger: log, LookupEnv: func(k string) (string, bool) {
		return "sk-test", k == "OPENAI_API_KEY"
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	model, err := mockmodel.Start(t.Context(), mockmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = model.Stop(context.Background()) }()
	jobs, err := job.NewStore(job.Deps{
		Docs: p.Docs, Blobs: p.Blobs, Bus: p.Bus, Source: "/codexgw/worker", Now: time.Now, Logger: log,
		PutBlob: func(ctx context.Context, name string, data []byte) error { return p.WriteBlob(ctx, name, data, "") },
	})
	if err != nil {
		t.Fatal(err)
	}
	w, err := worker.New(worker.Config{
		DataDir: filepath.Join(dir, "worker"), Concurrency: 2, Warm: 1, Lease: 15 * time.Second,
		DeltaDelay: 25 * time.Millisecond, Grace: 5 * time.Second, StallAfter: time.Minute,
		Model: "gpt-5.5", ModelBaseURL: model.BaseURL(), ModelKeySecret: "openai-api-key",
	}, worker.Deps{Jobs: jobs, Bus: p.Bus, Secrets: p.Secrets, Logger: log, Now: time.Now, Version: "test", Hide: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	j, _, err := jobs.Submit(t.Context(), job.Submission{Tenant: "default", Spec: job.Spec{
		Prompt: "mock: shell echo from-the-shell > a.txt\nmock: say done",
	}})
	if err != nil {
		t.Fatal(err)
	}
	jobs.Announce(t.Context(), j)
	var after int64
	for deadline := time.Now().Add(60 * time.Second); ; {
		if time.Now().After(deadline) {
			t.Fatal("job did not end")
		}
		page, err := jobs.Log.Read(t.Context(), j.ID, after, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			t.Logf("%.300s", e)
		}
		after = page.Last()
		if page.Closed {
			break
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case err := <-done:
			t.Fatal(err)
		}
	}
	got, err := jobs.Get(t.Context(), "default", j.ID)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.MarshalIndent(got, "", " ")
	t.Logf("%s", b)
	for _, a := range got.Artifacts {
		if a.Name == job.ArtifactDiff {
			raw, err := p.Blobs.ReadAll(t.Context(), a.Blob)
			t.Logf("%s %v", raw, err)
		}
	}
}
