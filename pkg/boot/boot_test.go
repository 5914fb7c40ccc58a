package boot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sethvargo/go-envconfig"
	"go.uber.org/goleak"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/boot"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/embedded"
	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/pkg/platform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud is the configuration of a platform that is a directory.
type cloud struct {
	Dir string `env:"TEST_DIR,required"`
}

// settings of a service.
type settings struct {
	Delta time.Duration `env:"CODEXGW_DELTA_DELAY,default=25ms"`
	Count int           `env:"TEST_COUNT,default=1" min:"1"`
}

// log is a writer for a process and its test.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// process is a service that can be watched.
type process struct {
	boot.Process[cloud]

	env     map[string]string
	log     *log
	signals chan os.Signal

	mu       sync.Mutex
	steps    []string
	run, end chan struct{}
	// takes is how long the service's own stop takes.
	takes time.Duration
	cfg   settings
	parts *boot.Parts
}

func newProcess(t *testing.T, env map[string]string) *process {
	t.Helper()
	p := &process{env: env, log: &log{}, signals: make(chan os.Signal, 2), run: make(chan struct{}), end: make(chan struct{})}
	if _, ok := env["TEST_DIR"]; !ok {
		env["TEST_DIR"] = t.TempDir()
	}
	p.Process = boot.Process[cloud]{
		Name: "tester", Lookup: envconfig.MapLookuper(env), Log: p.log, Signals: p.signals,
		Open: func(ctx context.Context, cfg cloud, d boot.Deps) (*platform.Platform, error) {
			d.Mux.HandleFunc("POST /push/{subscription}", func(w http.ResponseWriter, r *http.Request) {
				raw, err := io.ReadAll(r.Body)
				if err != nil {
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				p.step("pushed " + r.PathValue("subscription") + " " + string(raw))
				w.WriteHeader(http.StatusNoContent)
			})
			pf, err := embedded.Open(ctx, embedded.Config{
				Dir: cfg.Dir, Schema: d.Schema, Logger: d.Logger, Subscriptions: events.Deployed(false), LookupEnv: d.LookupEnv,
			})
			if err != nil {
				return nil, err
			}
			release := pf.Release
			pf.Release = func() error {
				p.step("platform closed")
				return release()
			}
			return pf, nil
		},
	}
	return p
}

func (p *process) step(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps = append(p.steps, name)
}

func (p *process) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.steps)
}

// Run implements chassis.Service.
func (p *process) Run(ctx context.Context) error {
	close(p.run)
	select {
	case <-ctx.Done():
	case <-p.end:
	}
	if p.takes > 0 {
		<-time.After(p.takes)
	}
	p.step("service ended")
	return nil
}

// Quiesce hands back what is in hand.
func (p *process) Quiesce(context.Context) error {
	p.step("service quiesced")
	return nil
}

// Ready is asked by /ready.
func (p *process) Ready(context.Context) error { return nil }

func (p *process) build(_ context.Context, _ *chassis.Runtime, cfg settings, parts *boot.Parts) (chassis.Service, error) {
	p.cfg, p.parts = cfg, parts
	return p, nil
}

// main runs the process; its exit code comes when it ends.
func (p *process) main(t *testing.T) <-chan int {
	t.Helper()
	done := make(chan int, 1)
	go func() { done <- boot.Main(context.Background(), p.Process, p.build) }()
	return done
}

func TestAServiceServesAndStopsInOrder(t *testing.T) {
	t.Parallel()
	addr := freeport.Addr()
	p := newProcess(t, map[string]string{"CODEXGW_ADDR": addr})
	done := p.main(t)
	<-p.run
	until(t, func() bool { return strings.Contains(p.log.String(), "service ready") })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]string{"/health": `{"status":"healthy"}`, "/ready": `{"name":"docs","status":"ok"}`} {
		if code, body := get(t, client, addr, http.MethodGet, path, ""); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	_, ready := get(t, client, addr, http.MethodGet, "/ready", "")
	for _, name := range []string{"bus", "docs", "blobs", "secrets", "tester"} {
		if !strings.Contains(ready, `"`+name+`"`) {
			t.Errorf("%s is not in /ready:\n%s", name, ready)
		}
	}
	if code, _ := get(t, client, addr, http.MethodPost, "/push/job-commands.worker", "hello"); code != http.StatusNoContent {
		t.Errorf("push: %d", code)
	}
	health := boot.Process[cloud]{Name: "tester", Args: []string{"-healthcheck"}, Lookup: p.Lookup, Log: io.Discard}
	if code := boot.Main(t.Context(), health, p.build); code != chassis.ExitOK {
		t.Errorf("health check: %d", code)
	}
	p.signals <- syscall.SIGTERM
	if code := <-done; code != chassis.ExitOK {
		t.Errorf("exit code %d\n%s", code, p.log)
	}
	want := []string{"pushed job-commands.worker hello", "service quiesced", "service ended", "platform closed"}
	if got := p.all(); !slices.Equal(got, want) {
		t.Errorf("steps %q, want %q", got, want)
	}
	if code := boot.Main(t.Context(), health, p.build); code != chassis.ExitFailed {
		t.Errorf("health check of a service that is gone: %d", code)
	}
}

func get(t *testing.T, client *http.Client, addr, method, path, body string) (code int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// until waits for what is about to be.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("not in time")
		}
	}
}

func TestAServiceThatEndsByItselfEndsTheProcess(t *testing.T) {
	t.Parallel()
	p := newProcess(t, map[string]string{}) // without PORT: nothing listens
	done := p.main(t)
	close(p.end)
	if code := <-done; code != chassis.ExitOK {
		t.Errorf("exit code %d\n%s", code, p.log)
	}
	if got := p.all(); !slices.Contains(got, "platform closed") {
		t.Errorf("steps %q", got)
	}
}

func TestDefaultsOfTheCloudGiveWayToTheEnvironment(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		env  map[string]string
		want time.Duration
	}{
		"not set":   {map[string]string{}, 100 * time.Millisecond},
		"set":       {map[string]string{"CODEXGW_DELTA_DELAY": "7ms"}, 7 * time.Millisecond},
		"set empty": {map[string]string{"CODEXGW_DELTA_DELAY": ""}, 100 * time.Millisecond},
	} {
		p := newProcess(t, tc.env)
		close(p.end)
		if code := <-p.main(t); code != chassis.ExitOK || p.cfg.Delta != tc.want {
			t.Errorf("%s: exit code %d, %s, want %s", name, code, p.cfg.Delta, tc.want)
		}
	}
}

func TestEverythingThatIsWrongIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	p := newProcess(t, map[string]string{"TEST_DIR": "", "TEST_COUNT": "0", "PORT": "x", "CODEXGW_LOG_RETENTION": "soon"})
	if code := <-p.main(t); code != chassis.ExitFailed {
		t.Errorf("exit code %d", code)
	}
	for _, name := range []string{"TEST_DIR", "TEST_COUNT", "PORT", "CODEXGW_LOG_RETENTION"} {
		if !strings.Contains(p.log.String(), name) {
			t.Errorf("%s is not named in\n%s", name, p.log)
		}
	}
}

func TestStartsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*process)
		code   int
	}{
		"the embedded platform": {func(p *process) { p.env["CODEXGW_PLATFORM"] = "embedded" }, chassis.ExitFailed},
		"arguments":             {func(p *process) { p.Args = []string{"--port", "80"} }, 2},
		"a platform that cannot be opened": {func(p *process) {
			p.Open = func(context.Context, cloud, boot.Deps) (*platform.Platform, error) { return nil, errors.New("no") }
		}, chassis.ExitFailed},
		"a port that is taken": {func(p *process) {
			ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err != nil {
				panic(err)
			}
			p.env["CODEXGW_ADDR"] = ln.Addr().String()
			p.end = nil
			t.Cleanup(func() { _ = ln.Close() })
		}, chassis.ExitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProcess(t, map[string]string{})
			tc.change(p)
			if code := <-p.main(t); code != tc.code || p.log.String() == "" {
				t.Errorf("exit code %d, want %d\n%s", code, tc.code, p.log)
			}
			if p.parts != nil && !slices.Contains(p.all(), "platform closed") {
				t.Error("the platform was left open")
			}
		})
	}
}
