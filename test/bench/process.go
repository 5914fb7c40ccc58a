package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// readyLimit is far above what is measured: it ends a start that hangs.
	readyLimit = 30 * time.Second
	// stopLimit is how long a program may take to end when it is asked to.
	stopLimit = 20 * time.Second
)

// program is a started program that says on its standard output when it is ready.
type program struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
	errs  *tail
	ended chan struct{} // closed when the program ended with err
	err   error
	// begun is the time right before the program was started.
	begun time.Time
}

// launch starts a program with a small environment of its own. The end of ctx
// does not kill it: whoever started it stops it, and it stops what it started.
func (b *bench) launch(ctx context.Context, env []string, name string, args ...string) (*program, error) {
	p := &program{
		cmd: exec.CommandContext(context.WithoutCancel(ctx), name, args...), errs: &tail{}, ended: make(chan struct{}),
		// Nothing writes more than a few lines; one that does waits.
		lines: make(chan string, 16),
	}
	p.cmd.Dir = b.dir
	p.cmd.Env = append(b.env(), env...)
	p.cmd.Stderr = p.errs
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.begun = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		scanner := bufio.NewScanner(stdout)
		scanner.Buffer(nil, 64<<20)
		for scanner.Scan() {
			p.lines <- scanner.Text()
		}
		close(p.lines)
		p.err = errors.Join(scanner.Err(), p.cmd.Wait())
	}()
	return p, nil
}

// env is what programs get of the environment: enough to run, no setting.
func (b *bench) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "LANG=C.UTF-8", "USER=bench", "SHELL=/bin/sh"}
}

// line is the program's next line.
func (p *program) line(ctx context.Context) (string, error) {
	select {
	case line, ok := <-p.lines:
		if ok {
			return line, nil
		}
		<-p.ended
		return "", fmt.Errorf("%s ended: %w\n%s", p.cmd.Args[0], errors.Join(p.err, io.EOF), p.errs)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// say writes a line to the program.
func (p *program) say(line string) error {
	_, err := io.WriteString(p.stdin, line+"\n")
	return err
}

// stop asks the program to end and kills it when it does not.
func (p *program) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	for {
		select {
		case _, ok := <-p.lines: // what nobody wanted to know must not block it
			if !ok {
				p.lines = nil
			}
		case <-p.ended:
			return nil
		case <-limit.C:
			return errors.Join(fmt.Errorf("%s did not end within %s", p.cmd.Args[0], stopLimit), p.cmd.Process.Kill())
		}
	}
}

// kill ends the program at once. What it started ends by itself: Codex when its
// standard input closes.
func (p *program) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	for range p.lines { // what nobody wanted to know must not block it
	}
	<-p.ended
	return nil
}

// tail keeps the end of what a program complains about.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// maxTail is how much of it is kept.
const maxTail = 4 << 10

var _ io.Writer = (*tail)(nil)

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > maxTail {
		t.text = append([]byte(nil), t.text[len(t.text)-maxTail:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
