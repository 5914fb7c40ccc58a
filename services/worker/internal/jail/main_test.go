package jail_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"codexgateway.dev/services/worker/codexversion"
	"codexgateway.dev/services/worker/internal/jail"
)

// helperArg makes the test binary a worker that starts one tree and then waits
// to be killed.
const helperArg = "jail-test-worker"

func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == helperArg {
		worker(os.Args[2], os.Args[3], os.Args[4])
	}
	goleak.VerifyTestMain(m)
}

// worker starts a tree with the mode, directory and script of its arguments,
// copies its output and never ends.
func worker(mode, dir, script string) {
	n, err := strconv.Atoi(mode)
	if err != nil {
		panic(err)
	}
	l, err := open(jail.Config{Mode: jail.Mode(n)})
	if err != nil {
		panic(err)
	}
	p, err := l.Start(context.Background(), jail.Spec{
		Binary: "/bin/sh", Args: []string{"-c", script},
		Home: filepath.Join(dir, "home"), Workspace: filepath.Join(dir, "work"),
	})
	if err != nil {
		panic(err)
	}
	_, _ = io.Copy(os.Stdout, p.Stdout)
	select {}
}

func open(cfg jail.Config) (*jail.Launcher, error) {
	pkg, err := codexversion.Locate("")
	if err != nil {
		return nil, err
	}
	cfg.Codex = pkg.Dir
	return jail.Open(cfg)
}

// launcher opens a launcher, or skips where the machine has no Codex CLI or no
// namespaces.
func launcher(tb testing.TB, cfg jail.Config) *jail.Launcher {
	tb.Helper()
	if _, err := codexversion.Locate(""); err != nil {
		tb.Skipf("needs the pinned Codex CLI (make setup): %v", err)
	}
	l, err := open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(l.Close)
	if err := l.Detect(tb.Context()); err != nil {
		tb.Skipf("mode %v: %v", cfg.Mode, err)
	}
	return l
}

// dirs makes a home and a workspace owned by the launcher's user.
func dirs(tb testing.TB, l *jail.Launcher) jail.Spec {
	tb.Helper()
	dir := tb.TempDir()
	s := jail.Spec{Home: filepath.Join(dir, "home"), Workspace: filepath.Join(dir, "work")}
	for _, d := range []string{s.Home, s.Workspace} {
		if err := os.Mkdir(d, 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := l.Own(d); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

// start runs a shell script as a tree and ends it with the test.
func start(tb testing.TB, l *jail.Launcher, s jail.Spec, script string) *jail.Process {
	tb.Helper()
	s.Binary, s.Args = "/bin/sh", []string{"-c", script}
	p, err := l.Start(tb.Context(), s)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		p.Kill()
		<-p.Done()
		_, _, _ = p.Stdin.Close(), p.Stdout.Close(), p.Stderr.Close()
	})
	return p
}

// run runs a shell script to its end and returns what it printed.
func run(tb testing.TB, l *jail.Launcher, s jail.Spec, script string) (stdout, stderr string, st jail.ExitState) {
	tb.Helper()
	p := start(tb, l, s, script)
	out := make(chan string, 1)
	go func() {
		raw, _ := io.ReadAll(p.Stdout)
		out <- string(raw)
	}()
	raw, err := io.ReadAll(p.Stderr)
	if err != nil {
		tb.Fatal(err)
	}
	stdout = <-out
	<-p.Done()
	return stdout, string(raw), p.State()
}

// line reads the next line of a tree's output.
func line(tb testing.TB, r *bufio.Reader) string {
	tb.Helper()
	s, err := r.ReadString('\n')
	if err != nil {
		tb.Fatalf("read a line: %v (got %q)", err, s)
	}
	return strings.TrimSpace(s)
}

// marks number the sleeps of this test process, so that a scan of the host's
// processes finds its own and no other's.
var marks atomic.Int64

// mark is a number of seconds no other process sleeps.
func mark() string { return fmt.Sprintf("9%d.%d", os.Getpid(), marks.Add(1)) }

// alive counts the host's living processes with the mark on their command line.
func alive(tb testing.TB, mark string) int {
	tb.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		tb.Fatal(err)
	}
	n := 0
	for _, f := range files {
		raw, err := os.ReadFile(f) // gone by now: not alive; a zombie: empty
		if err == nil && strings.HasPrefix(string(raw), "sleep\x00"+mark) {
			n++
		}
	}
	return n
}

// eventually waits until ok, checking often; the kernel tells a stranger
// nothing about another's processes.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("not within 2 min: %s", what)
		}
	}
}

// killedWorker runs script under a worker of its own, waits for its first
// line and kills the worker.
func killedWorker(t *testing.T, mode jail.Mode, s jail.Spec, script string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, helperArg, strconv.Itoa(int(mode)), filepath.Dir(s.Home), script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line(t, bufio.NewReader(out))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
}
