package campaign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"codexgateway.dev/pkg/wait"
)

// process is one node, over all its lives.
type process struct {
	name string
	// command is the node's, made anew for each life.
	command func() (*exec.Cmd, error)
	// log is the file all lives write to.
	log string
	// died hears of a life that ended though nobody harmed it.
	died func(name, how string)

	mu     sync.Mutex
	cmd    *exec.Cmd
	harmed bool
	ended  chan struct{} // closed with the current life
}

// respawn is the pause before a process that died by itself is started again.
const respawn = 500 * time.Millisecond

// run keeps the process alive until ctx ends, and then ends it.
func (p *process) run(ctx context.Context) error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("campaign: %w", err)
	}
	defer out.Close()
	for ctx.Err() == nil {
		cmd, err := p.start(out)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { p.end(cmd) })
		waited := cmd.Wait()
		stop()
		p.mu.Lock()
		harmed := p.harmed
		close(p.ended)
		p.mu.Unlock()
		_, _ = fmt.Fprintf(out, "--- %s %d ended: %v\n", p.name, cmd.Process.Pid, cmd.ProcessState)
		if ctx.Err() != nil || harmed {
			continue
		}
		p.died(p.name, fmt.Sprintf("%v, %v", cmd.ProcessState, waited))
		wait.For(ctx, respawn)
	}
	return nil
}

func (p *process) start(out *os.File) (*exec.Cmd, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd, err := p.command()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("campaign: start %s: %w", p.name, err)
	}
	p.cmd, p.harmed, p.ended = cmd, false, make(chan struct{})
	return cmd, nil
}

// Limits of the end of a process that is asked to.
const endLimit = 20 * time.Second

// end asks a life to end, and makes it.
func (p *process) end(cmd *exec.Cmd) {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	limit := time.NewTimer(endLimit)
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
		_ = cmd.Process.Kill()
	}
}

// harm sends a signal that ends this life, sooner or later.
func (p *process) harm(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.cmd.Process.Signal(sig) != nil {
		return false
	}
	p.harmed = true
	return true
}

// freeze stops this life for some time.
func (p *process) freeze(ctx context.Context, d time.Duration) bool {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	if cmd == nil || cmd.Process.Signal(syscall.SIGSTOP) != nil {
		return false
	}
	wait.For(ctx, d)
	err := cmd.Process.Signal(syscall.SIGCONT)
	return err == nil || errors.Is(err, os.ErrProcessDone)
}

// pid is the process of this life; 0: there is none.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}
