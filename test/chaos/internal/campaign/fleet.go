package campaign

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/test/chaos/internal/node"
	"codexgateway.dev/test/chaos/internal/wire"
)

// adminKey is the key of the campaign's clients: the gateway is on loopback and
// holds nothing.
const adminKey = "cgw_local_chaos_campaign"

// fleet is every process of the gateway.
type fleet struct {
	cfg  *Config
	urls []string
	// model is the base URL of the mock model.
	model string

	// host is the store host of the embedded platform, cloud the other platform:
	// one of them is there.
	host                        *process
	cloud                       *cloud
	edges, workers, reconcilers []*process

	mu     sync.Mutex
	faults wire.Faults // what the host does wrong, for its next life
	notes  []string

	stop []func() // in the order to stop in
}

func newFleet(cfg *Config, model string, on *cloud) (*fleet, error) {
	f := &fleet{cfg: cfg, model: model, faults: cfg.Faults, cloud: on}
	for _, dir := range []string{"blobs", "logs", "fake/bin"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o755); err != nil { //nolint:gosec // G301: a jail's user passes through
			return nil, fmt.Errorf("campaign: %w", err)
		}
	}
	// A Codex package with the fake in it and no bubblewrap beside it: the worker
	// then needs no jail, and its start is cheap.
	if err := copyProgram(f.fake(), cfg.FakeCodex); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x736b6577))
	skew := func() time.Duration {
		if cfg.Skew <= 0 {
			return 0
		}
		return time.Duration(rng.Int64N(2*int64(cfg.Skew)) - int64(cfg.Skew)).Round(time.Millisecond)
	}
	if on == nil {
		f.host = f.process("host", node.Options{Role: node.RoleHost}, nil)
	}
	for i := range cfg.Edges {
		addr := freeport.Addr()
		f.urls = append(f.urls, "http://"+addr)
		f.edges = append(f.edges, f.process(fmt.Sprint("edge-", i), node.Options{Role: node.RoleEdge, Skew: skew()}, map[string]string{
			"CODEXGW_ADDR": addr, "CODEXGW_ADMIN_KEY": adminKey, "CODEXGW_STREAM_CHECK": "1s", "CODEXGW_DRAIN_TIMEOUT": "1s",
		}))
	}
	for i := range cfg.Reconcilers {
		f.reconcilers = append(f.reconcilers, f.process(fmt.Sprint("reconciler-", i), node.Options{Role: node.RoleReconciler, Skew: skew()}, map[string]string{
			"CODEXGW_RECONCILE_INTERVAL": "300ms",
		}))
	}
	for i := range cfg.Workers {
		codex := filepath.Join(cfg.Dir, "fake")
		if cfg.RealCodex != "" && i == cfg.Workers-1 {
			codex = cfg.RealCodex
		}
		f.workers = append(f.workers, f.process(fmt.Sprint("worker-", i), node.Options{Role: node.RoleWorker, Skew: skew()}, map[string]string{
			"CODEXGW_WORKER_DIR": filepath.Join(cfg.Dir, fmt.Sprint("jobs-", i)), "CODEXGW_CODEX": codex,
			"CODEXGW_ALLOW_UNSANDBOXED": "true", "CODEXGW_WORKER_CONCURRENCY": "4", "CODEXGW_WORKER_WARM": "1",
			"CODEXGW_LEASE": cfg.Lease.String(), "CODEXGW_CANCEL_GRACE": "1s", "CODEXGW_STALL_AFTER": "30s", "CODEXGW_DELTA_DELAY": "1ms",
			"CODEXGW_MODEL_BASE_URL": f.model, "CODEXGW_SECRET_OPENAI_API_KEY": "no-key-is-needed",
		}))
	}
	return f, nil
}

// fake is the program of the fake Codex package.
func (f *fleet) fake() string { return filepath.Join(f.cfg.Dir, "fake", "bin", "codex") }

// process is a node that is not started yet.
func (f *fleet) process(name string, o node.Options, env map[string]string) *process {
	o.Dir, o.ClaimDelay, o.BreakFence = f.cfg.Dir, f.cfg.ClaimDelay, f.cfg.BreakFence
	o.Cloud = f.cloud != nil
	all := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": f.cfg.Dir, "LANG": "C.UTF-8", "CODEXGW_LOG_FORMAT": "json",
		"GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_SYSTEM": os.DevNull,
		// Fewer than the conversations that run, so that jobs wait for slots; and
		// logs expire while they are watched.
		"CODEXGW_TENANT_RUNNING": "3", "CODEXGW_LOG_RETENTION": "5s",
	}
	if f.cloud != nil {
		maps.Copy(all, f.cloud.project.Env())
	}
	maps.Copy(all, env)
	vars := make([]string, 0, len(all))
	for k, v := range all {
		vars = append(vars, k+"="+v)
	}
	life := uint64(0)
	return &process{
		name: name, log: filepath.Join(f.cfg.Dir, "logs", name+".log"),
		died: func(name, how string) { f.note("%s died by itself: %s", name, how) },
		command: func() (*exec.Cmd, error) {
			own := o
			life++
			own.Seed = f.cfg.Seed<<8 + life // other dice in each life
			own.Faults = f.currentFaults()
			args, err := own.Args()
			if err != nil {
				return nil, err
			}
			cmd := exec.Command(f.cfg.Program, args...) //nolint:noctx // its end is process.end's
			cmd.Env, cmd.Dir = vars, f.cfg.Dir
			return cmd, nil
		},
	}
}

func (f *fleet) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// groups are the processes in the order they are stopped in: what others need
// comes last.
func (f *fleet) groups() [][]*process {
	all := [][]*process{f.edges, f.workers, f.reconcilers}
	if f.host != nil {
		all = append(all, []*process{f.host})
	}
	return all
}

// start starts everything and waits until each edge is ready.
func (f *fleet) start(ctx context.Context) error {
	failed := make(chan error, 1)
	for _, group := range f.groups() {
		life, end := context.WithCancel(context.WithoutCancel(ctx))
		var members sync.WaitGroup
		for _, p := range group {
			members.Go(func() {
				if err := p.run(life); err != nil {
					select {
					case failed <- err:
					default: // the first is told
					}
				}
			})
		}
		f.stop = append(f.stop, func() { end(); members.Wait() })
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("campaign: the gateway was not ready within a minute"))
	defer cancel()
	for _, url := range f.urls {
		for !ready(ctx, url) {
			select {
			case err := <-failed:
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

func ready(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/ready", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// end stops everything and kills what is left of the jobs.
func (f *fleet) end() {
	for _, stop := range f.stop {
		stop()
	}
	for _, pid := range leftovers(f.cfg.Dir) {
		f.note("process %d of a job outlived its worker", pid)
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
}

// alarms counts the lines of the nodes' logs that tell of a fault of the program
// itself, whatever was done to it.
func (f *fleet) alarms() (int, error) {
	files, err := filepath.Glob(filepath.Join(f.cfg.Dir, "logs", "*.log"))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			return 0, fmt.Errorf("campaign: %w", err)
		}
		for line := range strings.Lines(string(raw)) {
			for _, word := range []string{"panic: ", `"panic_type":`, "DATA RACE", "fatal error: "} {
				if strings.Contains(line, word) {
					n++
					f.note("%s: %.200s", filepath.Base(name), line)
				}
			}
		}
	}
	return n, nil
}

// setFaults is what the host is to do wrong from here on, in its next life too.
func (f *fleet) setFaults(to wire.Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = to
}

func (f *fleet) currentFaults() wire.Faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults
}

func copyProgram(to, from string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("campaign: %w", err)
	}
	if err := os.WriteFile(to, raw, fs.FileMode(0o755)); err != nil { //nolint:gosec // G306: a program
		return fmt.Errorf("campaign: %w", err)
	}
	return nil
}
