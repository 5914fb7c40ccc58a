package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// node is one process of a gateway, over all its lives.
type node struct {
	name, program string
	args          []string
	env           map[string]string
	// first makes the program the first process of a PID namespace, as it is in a
	// container without an init.
	first bool
	// listen is the address that answers /ready when it serves; empty: it prints
	// that line.
	listen string

	stdout, stderr *capture
	cmd            *exec.Cmd
	// done is closed when the process has ended with the state in cmd.
	done chan struct{}
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

// spawn starts the process.
func (n *node) spawn() (stdout io.Reader, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	program, args := n.program, n.args
	if n.first {
		program, args = "unshare", append([]string{"--pid", "--fork", "--kill-child", "--mount-proc", n.program}, args...)
	}
	n.cmd = exec.Command(program, args...)
	n.cmd.Stdout, n.cmd.Stderr = w, n.stderr
	n.cmd.Dir = "/"
	n.cmd.WaitDelay = 5 * time.Second
	n.cmd.Env = environment(n.env)
	err = n.cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	n.done = make(chan struct{})
	cmd, done := n.cmd, n.done
	go func() { // ends with the process
		defer close(done)
		_ = cmd.Wait() // how it ended is in ProcessState
		_ = r.Close()
	}()
	return r, nil
}

// pid is the process of the program itself.
func (n *node) pid() int {
	if n.first {
		for _, p := range processes() {
			if p.parent == n.cmd.Process.Pid {
				return p.pid
			}
		}
	}
	return n.cmd.Process.Pid
}

// runs reports whether there is a process.
func (n *node) runs() bool {
	if n.cmd == nil || n.cmd.Process == nil {
		return false
	}
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// wait waits for the end of the process.
func (n *node) wait(t *testing.T) {
	t.Helper()
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-n.done:
	case <-limit.C:
		t.Fatalf("%s did not end in %v", n.name, stopLimit)
	}
}

// kill ends the process without a warning.
func (n *node) kill(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(n.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// stop asks the process to end, as an orchestrator does, and checks that it
// leaves cleanly and no process behind. One that does not run is fine.
func (n *node) stop() error {
	if !n.runs() {
		return nil
	}
	below := descendants(n.pid())
	if err := syscall.Kill(n.pid(), syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-n.done:
	case <-limit.C:
		_ = n.cmd.Process.Kill()
		<-n.done
		return fmt.Errorf("%s did not end %v after SIGTERM\n%s", n.name, stopLimit, tail(n.stderr.String(), 8000))
	}
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with %d after SIGTERM\n%s", n.name, code, tail(n.stderr.String(), 4000))
	}
	if left := alive(below); len(left) > 0 {
		return fmt.Errorf("processes outlive %s: %v", n.name, left)
	}
	return nil
}

// ended says how a process ended that should not have.
func (n *node) ended() error {
	return fmt.Errorf("%s ended at its start: %v\n%s", n.name, n.cmd.ProcessState, tail(n.stderr.String(), 4000))
}
