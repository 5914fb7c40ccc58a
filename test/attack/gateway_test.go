package attack_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/embedded"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/services/edge"
)

const (
	// roleVar makes a process of this test the gateway on the directory it holds.
	roleVar = "CODEXGW_ATTACK_DIR"

	adminKey = "cgw_test_attack_5f0d7c1e9b3a4826"

	// Limits of the gateway under attack, lowered so that they can be reached.
	maxSubscriptions = 8
	maxStreams       = 60
)

// settings is the configuration of the gateway under attack.
func settings() map[string]string {
	return map[string]string{
		"CODEXGW_ADDR": "127.0.0.1:0", "CODEXGW_INTERNAL_ADDR": "127.0.0.1:0",
		"CODEXGW_ADMIN_KEY": adminKey, "CODEXGW_LOG_LEVEL": "debug", "CODEXGW_LOG_FORMAT": "json",
		"CODEXGW_MAX_SUBSCRIPTIONS": strconv.Itoa(maxSubscriptions), "CODEXGW_MAX_STREAMS": strconv.Itoa(maxStreams),
		"CODEXGW_AUTH_FAILURES": "0", // guesses from one address are what most of it is
		"CODEXGW_CORS_ORIGINS":  "https://*.friend.example",
	}
}

// fixtures are what there is to attack.
type fixtures struct {
	URL string `json:"url"`
	// Queued is a job that never starts, Done one that has ended with the artifact
	// diff.patch, Foreign one of another tenant.
	Queued  string `json:"queued"`
	Done    string `json:"done"`
	Foreign string `json:"foreign"`
}

// serve is the gateway's process: the edge on the embedded platform, and nobody
// that takes its jobs. It stops when its standard input ends, so that it never
// outlives the test.
func serve(dir string) int {
	stop := make(chan os.Signal, 1)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop <- syscall.SIGTERM
	}()
	process := chassis.Process{Name: "edge", Lookup: envconfig.MapLookuper(settings()), Log: os.Stderr, Signals: stop}
	return chassis.Main(context.Background(), process, func(ctx context.Context, rt *chassis.Runtime, cfg edge.Config) (chassis.Service, error) {
		pf, err := embedded.Open(ctx, embedded.Config{Dir: dir, Schema: schema.All(), Logger: rt.Log})
		if err != nil {
			return nil, err
		}
		jobs, err := job.NewStore(job.Deps{
			Docs: pf.Docs, Blobs: pf.Blobs, Bus: pf.Bus, Source: "/codexgw/attack", Now: time.Now, Logger: rt.Log,
			PutBlob: func(ctx context.Context, name string, data []byte) error { return pf.WriteBlob(ctx, name, data, "") },
		})
		if err != nil {
			return nil, err
		}
		svc, err := edge.New(cfg, edge.Deps{
			Jobs: jobs, Docs: pf.Docs, Bus: pf.Bus, Secrets: pf.Secrets, Blobs: pf.Blobs, BlobHandler: pf.BlobHandler,
			Health: rt.Health, Logger: rt.Log, Now: time.Now, Version: "1.2.3",
		})
		if err != nil {
			return nil, err
		}
		f, err := furnish(ctx, jobs)
		if err != nil {
			return nil, err
		}
		group := chassis.NewGroup(rt.Log, rt.Health, chassis.StopLimits{})
		group.Add(chassis.Component{Name: "platform", Close: func(context.Context) error { return pf.Close() }})
		group.Add(chassis.Component{Name: "edge", Run: svc.Run})
		go func() {
			<-svc.Ready()
			f.URL = svc.Addr().String()
			_ = json.NewEncoder(os.Stdout).Encode(f)
		}()
		return group, nil
	})
}

// furnish makes the jobs.
func furnish(ctx context.Context, jobs *job.Store) (fixtures, error) {
	var f fixtures
	for _, j := range []struct {
		tenant string
		id     *string
	}{{"default", &f.Queued}, {"default", &f.Done}, {"other", &f.Foreign}} {
		made, _, err := jobs.Submit(ctx, job.Submission{Tenant: j.tenant, Spec: job.Spec{Prompt: "hello"}})
		if err != nil {
			return f, err
		}
		*j.id = made.ID
	}
	held, err := jobs.Claim(ctx, f.Done, job.ClaimOptions{Worker: "wrk_attack", Lease: time.Minute, DeltaDelay: time.Millisecond})
	if err != nil {
		return f, err
	}
	claimed := held.Job()
	diff, err := jobs.PutArtifact(ctx, &claimed, job.Artifact{Name: job.ArtifactDiff, ContentType: "text/x-diff"}, []byte("--- a\n+++ b\n"))
	if err != nil {
		return f, err
	}
	return f, held.Finish(ctx, job.Result{State: job.Completed, Content: "done", Artifacts: []job.Artifact{diff}})
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(roleVar); dir != "" {
		os.Exit(serve(dir))
	}
	os.Exit(m.Run())
}

// gateway is the process under attack.
type gateway struct {
	fixtures

	cmd      *exec.Cmd
	input    io.Closer
	logFile  string
	internal string // the address of the internal listener
	ended    chan error
}

// launch starts the gateway; it is stopped and its log judged with the test.
func launch(t *testing.T) *gateway {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	g := &gateway{logFile: filepath.Join(dir, "log"), ended: make(chan error, 1)}
	log, err := os.Create(g.logFile)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	g.cmd = exec.Command(self)
	g.cmd.Env = []string{roleVar + "=" + filepath.Join(dir, "data"), "GORACE=halt_on_error=0", "TMPDIR=" + dir}
	g.cmd.Stderr = log
	input, err := g.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	g.input = input
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &g.fixtures)
	}
	go func() { g.ended <- g.cmd.Wait() }()
	if err != nil {
		t.Fatalf("the gateway did not start: %v\n%s", err, g.log(t))
	}
	for _, entry := range g.entries(t) {
		if entry.Message == "internal listener open" {
			g.internal = entry.Addr
		}
	}
	return g
}

// stop ends the process in order.
func (g *gateway) stop(t *testing.T) {
	t.Helper()
	_ = g.input.Close()
	select {
	case err := <-g.ended:
		if err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
	case <-time.After(patience):
		_ = g.cmd.Process.Kill()
		t.Errorf("the gateway did not stop: %v", <-g.ended)
	}
}

func (g *gateway) log(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(g.logFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// entry is one line of the log.
type entry struct {
	Severity string `json:"severity"`
	Message  string `json:"message"`
	Addr     string `json:"addr"`
}

func (g *gateway) entries(t *testing.T) []entry {
	t.Helper()
	var all []entry
	for line := range strings.Lines(g.log(t)) {
		var e entry
		if json.Unmarshal([]byte(line), &e) == nil {
			all = append(all, e)
		}
	}
	return all
}

// judgeLog finds what must not be in the log, whatever was sent.
func (g *gateway) judgeLog(t *testing.T) {
	t.Helper()
	log := g.log(t)
	for _, never := range []string{"panic", "DATA RACE", adminKey, canary} {
		if at := strings.Index(log, never); at >= 0 {
			t.Errorf("the log has %q: …%s…", never, log[max(0, at-200):min(len(log), at+1500)])
		}
	}
	for _, e := range g.entries(t) {
		if slices.Contains([]string{"ERROR", "CRITICAL"}, e.Severity) {
			t.Errorf("the log has an error: %+v", e)
		}
	}
}

// usage is what the process holds.
type usage struct {
	heap, goroutines, files int64
	rss                     int64
}

func (u usage) String() string {
	return fmt.Sprintf("heap %d KiB, rss %d MiB, %d goroutines, %d file descriptors", u.heap>>10, u.rss>>20, u.goroutines, u.files)
}
