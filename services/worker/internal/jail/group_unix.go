//go:build unix

package jail

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// group is the tree of ProcessGroup mode: one session, one process group.
type group struct{ leader int }

var _ tree = group{}

func (g group) pid() int   { return g.leader }
func (g group) terminate() { _ = syscall.Kill(g.leader, syscall.SIGTERM) }
func (g group) kill()      { _ = syscall.Kill(-g.leader, syscall.SIGKILL) }

// gone polls until the group has no member. The kernel tells nobody but a
// parent about an exit, and members of the group may have lost theirs.
func (g group) gone() {
	deadline := time.NewTimer(killWait)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(-g.leader, 0) == nil {
		select {
		case <-tick.C:
		case <-deadline.C:
			return
		}
	}
}

func (l *Launcher) startGroup(ctx context.Context, s Spec) (*Process, error) {
	paths := l.cfg.paths(&s)
	if err := os.MkdirAll(paths.Home, 0o700); err != nil {
		return nil, fmt.Errorf("jail: start: %w", err)
	}
	p, err := newPipes()
	if err != nil {
		return nil, err
	}
	defer p.closeChild()
	cmd := &exec.Cmd{
		Path: l.program(&s), Args: append([]string{"codex"}, s.Args...),
		Dir: s.Workspace, Env: environment(paths, s.Env),
		Stdin: p.child[0], Stdout: p.child[1], Stderr: p.child[2],
		SysProcAttr: groupAttr(),
	}
	if err := l.thread.do(ctx, cmd.Start, func() {}); err != nil {
		p.close()
		return nil, fmt.Errorf("jail: start: %w", err)
	}
	tree := group{leader: cmd.Process.Pid}
	proc := &Process{
		Stdin: p.parent[0], Stdout: p.parent[1], Stderr: p.parent[2],
		Paths: paths, done: make(chan struct{}), tree: tree,
	}
	go func() {
		defer close(proc.done)
		_ = cmd.Wait() // its outcome is in ProcessState
		tree.kill()
		tree.gone()
		proc.state = ExitState{Code: exitCode(cmd.ProcessState), Started: true}
	}()
	return proc, nil
}
