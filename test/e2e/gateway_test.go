package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"codexgateway.dev/pkg/client"
	"codexgateway.dev/pkg/secret"
)

const (
	// startLimit, stopLimit and jobLimit are far above what is measured: they end
	// a test that hangs, they do not measure anything.
	startLimit = 90 * time.Second
	stopLimit  = 30 * time.Second
	jobLimit   = 120 * time.Second
)

// options say how a gateway is started.
type options struct {
	// realModel leaves --mock-model out.
	realModel bool
	// codex is the Codex to use; empty: the real one.
	codex string
	// data is the data directory; empty: one of its own.
	data string
	// first makes the gateway the first process of a PID namespace, as it is in a
	// container without an init.
	first bool
	// mayFail allows errors in the log: what is done to the gateway is its fault.
	mayFail bool
	// env are variables on top of the small environment all gateways get.
	env map[string]string
}

// gateway is a running codexgw up, and a client of it.
type gateway struct {
	opt  options
	addr string

	dir string
	url string
	key secret.Value
	*client.Client

	stdout, stderr *capture
	cmd            *exec.Cmd
	// done is closed when the process has ended with the state in cmd.
	done chan struct{}
	// left are processes that a kill has left and the next start must end.
	left []procInfo
}

// capture keeps what a process prints, over all its restarts.
type capture struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.Write(p)
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

// start starts a gateway that ends with the test.
func start(t *testing.T, opt options) *gateway {
	t.Helper()
	select {
	case tests.running <- struct{}{}:
	case <-t.Context().Done():
		t.Fatal("the test ended before a gateway could be started")
	}
	t.Cleanup(func() { <-tests.running })
	if opt.data == "" {
		opt.data = dataDir(t)
	}
	g := newGateway(opt)
	t.Cleanup(func() {
		for _, p := range alive(g.left) { // it was not started again
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		if err := errors.Join(g.stop(), g.healthy()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", tail(g.stderr.String(), 12_000))
		}
	})
	g.up(t)
	return g
}

func newGateway(opt options) *gateway {
	return &gateway{opt: opt, dir: opt.data, stdout: &capture{}, stderr: &capture{}}
}

// dataDir is an empty directory where a gateway may keep its data.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(tests.base, "data-") //nolint:usetesting // not below the temporary directory, which a gateway refuses
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

// up starts the process and waits until it serves. Started anew it has the same
// address, so that watchers find it again.
func (g *gateway) up(t *testing.T) {
	t.Helper()
	if err := g.launch(); err != nil {
		t.Fatal(err)
	}
	if left := alive(g.left); len(left) > 0 {
		t.Errorf("processes outlive the kill of the gateway and its next start: %v", left)
	}
}

func (g *gateway) launch() error {
	if g.addr == "" {
		g.addr = freeAddr()
	}
	out, err := g.spawn()
	if err != nil {
		return err
	}
	ready := make(chan string, 1)
	go func() { // ends with the process's standard output
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			_, _ = io.WriteString(g.stdout, lines.Text()+"\n")
			if line, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				ready <- line
			}
		}
	}()
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case line := <-ready:
		return g.greeted(line)
	case <-g.done:
		return fmt.Errorf("the gateway ended at its start: %v\n%s", g.cmd.ProcessState, tail(g.stderr.String(), 4000))
	case <-limit.C:
		return errors.Join(fmt.Errorf("the gateway was not ready in %v\n%s", startLimit, tail(g.stderr.String(), 4000)), g.stop())
	}
}

// spawn starts the process.
func (g *gateway) spawn() (stdout io.Reader, err error) {
	args := []string{"up", "--addr", g.addr, "--data", g.dir}
	if g.opt.codex == "" {
		args = append(args, "--codex", tests.codex.Dir)
	} else {
		args = append(args, "--codex", g.opt.codex)
	}
	if !g.opt.realModel {
		args = append(args, "--mock-model")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	program := tests.gateway
	if g.opt.first {
		program, args = "unshare", append([]string{"--pid", "--fork", "--kill-child", "--mount-proc", tests.gateway}, args...)
	}
	g.cmd = exec.Command(program, args...)
	g.cmd.Stdout, g.cmd.Stderr = w, g.stderr
	g.cmd.Dir = "/"
	g.cmd.WaitDelay = 5 * time.Second
	g.cmd.Env = environment(g.opt.env)
	err = g.cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	g.done = make(chan struct{})
	cmd, done := g.cmd, g.done
	go func() { // ends with the process
		defer close(done)
		_ = cmd.Wait() // how it ended is in ProcessState
		_ = r.Close()
	}()
	return r, nil
}

// environment is that of a process under test: nothing of the developer's own
// settings gets in.
func environment(extra map[string]string) []string {
	env := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": tests.base, "LANG": "C.UTF-8", "CODEXGW_LOG_FORMAT": "json",
		"CODEXGW_WORKER_WARM": "1", "GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_SYSTEM": os.DevNull,
	}
	maps.Copy(env, extra)
	var out []string
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	return out
}

// greeted connects to the gateway that printed the ready line.
func (g *gateway) greeted(line string) error {
	var r struct {
		URL     string `json:"url"`
		KeyFile string `json:"key_file"`
	}
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return fmt.Errorf("ready line %q: %w", line, err)
	}
	if want := filepath.Join(g.dir, "admin.key"); r.KeyFile != want {
		return fmt.Errorf("key_file = %q, want %q", r.KeyFile, want)
	}
	raw, err := os.ReadFile(r.KeyFile)
	if err != nil {
		return err
	}
	key := secret.NewValue(strings.TrimSpace(string(raw)))
	if g.Client != nil { // a restart; others may be using the client
		if r.URL != g.url || !key.Equal(g.key) {
			return fmt.Errorf("the restarted gateway has another address or key: %s", r.URL)
		}
		return nil
	}
	g.url, g.key = r.URL, key
	g.Client, err = client.New(client.Options{URL: g.url, Key: g.key, Timeout: 60 * time.Second})
	return err
}

// freeAddr is an address to listen on. The port is below those that the kernel
// gives to connections: a gateway that is down for a moment must not lose its
// port to somebody's outgoing call.
func freeAddr() string {
	for {
		addr := fmt.Sprintf("127.0.0.1:%d", 12_000+rand.IntN(18_000))
		if ln, err := net.Listen("tcp", addr); err == nil {
			_ = ln.Close()
			return addr
		}
	}
}

// wait waits for the end of the process and returns its exit code, -1 after a
// signal.
func (g *gateway) wait(t *testing.T) int {
	t.Helper()
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-g.done:
		return g.cmd.ProcessState.ExitCode()
	case <-limit.C:
		t.Fatalf("the gateway did not end in %v", stopLimit)
		return -1
	}
}

// pid is the process of the gateway itself.
func (g *gateway) pid() int {
	if g.opt.first {
		for _, p := range processes() {
			if p.parent == g.cmd.Process.Pid {
				return p.pid
			}
		}
	}
	return g.cmd.Process.Pid
}

// terminate asks the gateway to end, as an orchestrator does, and checks that
// it leaves cleanly and no process behind.
func (g *gateway) terminate(t *testing.T) {
	t.Helper()
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
}

// kill ends the gateway without a warning.
func (g *gateway) kill(t *testing.T) {
	t.Helper()
	below := descendants(g.pid())
	if err := syscall.Kill(g.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.wait(t)
	eventually(t, 10*time.Second, "the processes of a killed gateway end", func() bool { return len(running(alive(below))) == 0 })
	g.left = append(g.left, alive(below)...)
}

// stop is terminate without a test; a gateway that does not run is fine.
func (g *gateway) stop() error {
	if g.cmd == nil || g.cmd.Process == nil {
		return nil
	}
	select {
	case <-g.done:
		return nil
	default:
	}
	below := descendants(g.pid())
	if err := syscall.Kill(g.pid(), syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-g.done:
	case <-limit.C:
		_ = g.cmd.Process.Kill()
		<-g.done
		return fmt.Errorf("the gateway did not end %v after SIGTERM\n%s", stopLimit, tail(g.stderr.String(), 8000))
	}
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the gateway ended with %d after SIGTERM\n%s", code, tail(g.stderr.String(), 4000))
	}
	if left := alive(below); len(left) > 0 {
		return fmt.Errorf("processes outlive the gateway: %v", left)
	}
	return nil
}

// healthy checks the log for what must never be in it: the gateway's own
// failures, and what the Go runtime prints about a crash or a data race.
func (g *gateway) healthy() error {
	words := []string{"panic: ", "\"panic\":", "goroutine ", "DATA RACE", "fatal error: "}
	if !g.opt.mayFail {
		words = append(words, `"severity":"ERROR"`, `"severity":"CRITICAL"`)
	}
	for line := range strings.Lines(g.stderr.String()) {
		for _, word := range words {
			if strings.Contains(line, word) {
				return fmt.Errorf("in the gateway's log: %s", line)
			}
		}
	}
	return nil
}
