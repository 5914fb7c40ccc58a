package jail

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"
)

// Process is one running tree. Its owner drains Stdout and Stderr to their end
// (Codex blocks or buffers without bound otherwise) and closes all three.
type Process struct {
	// Stdin, Stdout and Stderr are the worker's ends of the program's pipes.
	Stdin, Stdout, Stderr *os.File
	// Paths are the directories as the program sees them.
	Paths Paths

	done  chan struct{}
	state ExitState
	tree  tree
	kill  sync.Once
}

// tree is what a mode knows about its processes.
type tree interface {
	// terminate sends SIGTERM to the program.
	terminate()
	// kill sends SIGKILL to everything. It may be called after the end.
	kill()
	// pid is the host's process id to name in logs.
	pid() int
}

// Done is closed when every process of the tree is gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// State is how the tree ended; valid once Done is closed.
func (p *Process) State() ExitState { return p.state }

// PID is the host's process id of the tree's first process, for logs.
func (p *Process) PID() int { return p.tree.pid() }

// Kill ends the whole tree now. Done closes when it is gone, usually within
// milliseconds. Safe to call at any time, more than once, from anywhere.
func (p *Process) Kill() { p.kill.Do(p.tree.kill) }

// Stop closes stdin, on which Codex ends its commands and exits, waits for
// grace, asks again with SIGTERM and waits as long once more, then kills. It
// returns when every process is gone. When ctx ends it kills at once. An error
// means that processes are left, stuck in the kernel.
func (p *Process) Stop(ctx context.Context, grace time.Duration) error {
	_ = p.Stdin.Close() // closed twice is fine: the point is that it is closed
	if grace > 0 {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		for _, ask := range []func(){p.tree.terminate, func() {}} {
			select {
			case <-p.done:
				return nil
			case <-ctx.Done():
				return p.killAndWait()
			case <-timer.C:
				ask()
				timer.Reset(grace)
			}
		}
	}
	return p.killAndWait()
}

func (p *Process) killAndWait() error {
	p.Kill()
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return errNotGone
	}
}

// pipes are the three pipes of a program, both ends.
type pipes struct {
	child  [3]*os.File
	parent [3]*os.File
}

func newPipes() (*pipes, error) {
	p := &pipes{}
	for i := range p.child {
		r, w, err := os.Pipe()
		if err != nil {
			p.close()
			return nil, os.NewSyscallError("pipe", err)
		}
		p.child[i], p.parent[i] = w, r
		if i == 0 {
			p.child[i], p.parent[i] = r, w
		}
	}
	return p, nil
}

// closeChild closes the program's ends once it has them, so that the worker
// sees end of file when the last process of the tree is gone.
func (p *pipes) closeChild() {
	for _, f := range p.child {
		if f != nil {
			_ = f.Close()
		}
	}
}

func (p *pipes) close() {
	p.closeChild()
	for _, f := range p.parent {
		if f != nil {
			_ = f.Close()
		}
	}
}

// exitCode is the shell's convention for a wait status.
func exitCode(st *os.ProcessState) int {
	if st == nil {
		return -1
	}
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return st.ExitCode()
}
