package worker_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/embedded"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/services/worker"
	"codexgateway.dev/services/worker/codexversion"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a worker on an embedded platform, with a mock model behind it.
type bench struct {
	p    *platform.Platform
	jobs *job.Store
	dir  string
	// bus is what the worker hears: that of the platform unless a test says else.
	bus *bus.Bus
}

func open(t *testing.T) *bench {
	t.Helper()
	if _, err := codexversion.Locate(""); err != nil {
		t.Skip("the Codex CLI is not installed: run make setup")
	}
	// Not t.TempDir: Codex refuses to put its helpers under the temporary directory.
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(cache, "codexgw-test-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	p, err := embedded.Open(t.Context(), embedded.Config{
		Dir: filepath.Join(dir, "data"), Schema: schema.All(), Logger: log,
		LookupEnv: func(k string) (string, bool) { return "sk-test", k == "OPENAI_API_KEY" },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	b := &bench{p: p, dir: dir, bus: p.Bus}
	b.jobs, err = job.Open(p, job.Config{}, job.Opening{Service: "worker", Now: time.Now, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// start runs a worker until the returned function is called.
func (b *bench) start(t *testing.T, change ...func(*worker.Config)) (stop func()) {
	t.Helper()
	w := b.build(t, change...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		left, err := filepath.Glob(filepath.Join(b.dir, "worker", "slots", "wrk_*"))
		if err != nil || len(left) > 0 {
			t.Errorf("slots left behind: %v %v", left, err)
		}
	}
}

// build makes a worker that is not run, with a model that ends with the test.
func (b *bench) build(t *testing.T, change ...func(*worker.Config)) *worker.Service {
	t.Helper()
	model, err := mockmodel.Start(t.Context(), mockmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := worker.Config{
		DataDir: filepath.Join(b.dir, "worker"), Concurrency: 2, Warm: 1, Lease: 15 * time.Second,
		DeltaDelay: 25 * time.Millisecond, Grace: 5 * time.Second, StallAfter: time.Minute,
		Model: "gpt-5.5", ModelBaseURL: model.BaseURL(), ModelKeySecret: "openai-api-key",
	}
	t.Cleanup(func() {
		if err := model.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for _, c := range change {
		c(&cfg)
	}
	w, err := worker.New(cfg, worker.Deps{
		Jobs: b.jobs, Bus: b.bus, Secrets: b.p.Secrets, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Now: time.Now, Version: "test", Hide: []string{b.dir},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (b *bench) submit(t *testing.T, prompt string) *job.Job {
	t.Helper()
	j, _, err := b.jobs.Submit(t.Context(), job.Submission{Tenant: "default", Spec: job.Spec{
		Prompt: prompt, Timeout: 5 * time.Minute, // of lane short, which every intake takes
	}})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// await waits until the job satisfies ok.
func (b *bench) await(t *testing.T, jobID string, ok func(*job.Job) bool) *job.Job {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(5 * time.Minute)
	for {
		j, err := b.jobs.Get(t.Context(), "default", jobID)
		if err != nil {
			t.Fatal(err)
		}
		if ok(j) {
			return j
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not in time: job is %s", j.State)
		}
	}
}

func ended(j *job.Job) bool { return j.State.Terminal() }

func TestARealCodexRunsAJob(t *testing.T) {
	t.Parallel()
	b := open(t)
	defer b.start(t)()
	j := b.submit(t, "mock: shell echo from-the-shell > a.txt\nmock: say done")
	b.jobs.Announce(t.Context(), j) // the first message may have come before the worker listened
	got := b.await(t, j.ID, ended)
	if got.State != job.Completed || got.Content != "done" || got.Usage.Input == 0 {
		t.Fatalf("job ended as %s, %q, %+v", got.State, got.Content, got.Error)
	}
	var names []string
	for _, a := range got.Artifacts {
		names = append(names, a.Name)
		if a.Name == job.ArtifactDiff {
			if err := b.jobs.LinkArtifact(t.Context(), &a); err != nil {
				t.Error(err)
			}
			raw, err := b.p.Blobs.ReadAll(t.Context(), a.Blob)
			if err != nil || !strings.Contains(string(raw), "+from-the-shell") {
				t.Errorf("diff: %v\n%s", err, raw)
			}
		}
	}
	slices.Sort(names)
	want := []string{job.ArtifactDiff, job.ArtifactEvents, job.ArtifactMessage, job.ArtifactWorkspace}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("artifacts %v", names)
	}
}

func TestAStoppedWorkerHandsItsJobBack(t *testing.T) {
	t.Parallel()
	b := open(t)
	stop := b.start(t)
	j := b.submit(t, "mock: hang")
	b.jobs.Announce(t.Context(), j)
	b.await(t, j.ID, func(j *job.Job) bool { return j.State == job.Running })
	stop()
	got := b.await(t, j.ID, func(*job.Job) bool { return true })
	if got.State != job.Queued || got.Attempt != 1 || !got.HandedBack {
		t.Errorf("job is %s, attempt %d, handed back %v", got.State, got.Attempt, got.HandedBack)
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := worker.New(worker.Config{}, worker.Deps{}); err == nil {
		t.Error("no dependencies were accepted")
	}
	b := open(t)
	deps := worker.Deps{Jobs: b.jobs, Bus: b.p.Bus, Secrets: b.p.Secrets, Logger: slog.New(slog.DiscardHandler), Now: time.Now}
	cfg := worker.Config{
		DataDir: b.dir, Codex: filepath.Join(b.dir, "nowhere"), Concurrency: 1, Lease: time.Second,
		Model: "m", ModelBaseURL: "http://127.0.0.1:1/v1", ModelKeySecret: "k",
	}
	if _, err := worker.New(cfg, deps); errs.CodeOf(err) != errs.CodexMissing {
		t.Errorf("without Codex: %v", err)
	}
	cfg.EgressAllow = []string{"everywhere"}
	if _, err := worker.New(cfg, deps); err == nil || !strings.Contains(err.Error(), "CODEXGW_EGRESS_ALLOW") {
		t.Errorf("bad CIDR: %v", err)
	}
}
