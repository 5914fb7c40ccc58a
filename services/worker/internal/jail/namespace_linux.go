package jail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// startWait bounds the building of a jail, a matter of milliseconds.
const startWait = 10 * time.Second

// oomScore makes the kernel's out-of-memory killer prefer a job's processes to
// the worker, whose death would lose every job it runs.
const oomScore = "500"

// namespaces is the tree of Namespace mode. outer is bubblewrap itself, the
// worker's child; init is the first process of the PID namespace.
type namespaces struct {
	outer *exec.Cmd
	init  int
	// initFD is a pidfd of init: unlike its number it can never name another
	// process. It is valid until the tree's end is known and is not closed
	// before the last signal could be sent.
	initFD *os.File
}

var _ tree = (*namespaces)(nil)

func (n *namespaces) pid() int { return n.init }

func (n *namespaces) kill() { n.signal(unix.SIGKILL) }

func (n *namespaces) signal(sig unix.Signal) {
	if rc, err := n.initFD.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) { _ = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	}
}

// terminate signals the program: the first child of bubblewrap's init, which
// adopts orphans only after it. A kernel without the children file leaves it to
// the kill that follows.
func (n *namespaces) terminate() {
	pid := n.program()
	if pid == 0 {
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	// The number may have passed to a stranger before the pidfd was opened.
	if n.program() == pid {
		_ = unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0)
	}
}

// program is the process id of the program, 0 when it is not known.
func (n *namespaces) program() int {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", n.init, n.init))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(raw)), " ")
	pid, err := strconv.Atoi(first)
	if err != nil || n.ended() {
		return 0
	}
	return pid
}

// ended reports whether init is dead and its number perhaps another's.
func (n *namespaces) ended() bool {
	rc, err := n.initFD.SyscallConn()
	if err != nil {
		return true
	}
	ended := true
	_ = rc.Control(func(fd uintptr) { ended = unix.PidfdSendSignal(int(fd), 0, nil, 0) != nil })
	return ended
}

// gone waits until init is dead, which the kernel reports only after it has
// ended every other process of the namespace. It is called when bubblewrap, its
// parent, has ended.
func (n *namespaces) gone() {
	rc, err := n.initFD.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1) //nolint:gosec // G115: a file descriptor
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		// The first process of a container inherits init and must collect it, or
		// every job would leave a zombie. Elsewhere it is not ours and this fails.
		_ = unix.Waitid(unix.P_PIDFD, int(fd), nil, unix.WEXITED|unix.WNOHANG, nil)
	})
}

// status are the documents bubblewrap writes about itself.
type status struct {
	ChildPID *int `json:"child-pid"` //nolint:tagliatelle // bubblewrap's name
	ExitCode *int `json:"exit-code"` //nolint:tagliatelle // bubblewrap's name
}

func (l *Launcher) startNamespace(ctx context.Context, s Spec) (*Process, error) {
	p, err := newPipes()
	if err != nil {
		return nil, err
	}
	statusR, statusW, err := os.Pipe()
	if err != nil {
		p.close()
		return nil, os.NewSyscallError("pipe", err)
	}
	blockR, blockW, err := os.Pipe()
	if err != nil {
		p.close()
		_, _ = statusR.Close(), statusW.Close()
		return nil, os.NewSyscallError("pipe", err)
	}
	defer func() { _ = blockW.Close() }()

	paths := l.cfg.paths(&s)
	stage := staged{dir: l.thread.stage}
	cmd := &exec.Cmd{
		Env:   environment(paths, s.Env),
		Stdin: p.child[0], Stdout: p.child[1], Stderr: p.child[2],
		ExtraFiles:  []*os.File{statusW, blockR},
		SysProcAttr: l.attr(),
	}
	var n *namespaces
	decoder := json.NewDecoder(statusR)
	err = l.thread.do(ctx, func() error {
		if err := l.compose(cmd, &stage, &s, paths); err != nil {
			return err
		}
		err := cmd.Start()
		p.closeChild()
		_, _ = statusW.Close(), blockR.Close()
		if err != nil {
			return fmt.Errorf("jail: start bubblewrap: %w", err)
		}
		if n, err = await(ctx, cmd, statusR, decoder); err != nil {
			return err
		}
		limit(n.init, s.Limits)
		_, _ = blockW.Write([]byte{1}) // a dead reader shows as the tree's end
		return nil
	}, stage.clear)
	if err != nil {
		if n == nil && cmd.Process != nil {
			err = failed(cmd, p, err)
		}
		p.close()
		_, _, _ = statusR.Close(), statusW.Close(), blockR.Close()
		return nil, err
	}
	proc := &Process{
		Stdin: p.parent[0], Stdout: p.parent[1], Stderr: p.parent[2],
		Paths: paths, done: make(chan struct{}), tree: n,
	}
	go proc.wait(n, statusR, decoder)
	return proc, nil
}

// compose fills in the program and its arguments, with every directory where
// the starting user can reach it. It runs on the launcher's thread.
func (l *Launcher) compose(cmd *exec.Cmd, stage *staged, s *Spec, paths Paths) error {
	var src sources
	var err error
	for _, b := range []struct {
		dst *string
		src string
	}{{&src.codex, l.cfg.Codex}, {&src.home, s.Home}, {&src.workspace, s.Workspace}, {&src.tmp, s.Tmp}} {
		if b.src == "" {
			continue
		}
		if *b.dst, err = stage.bind(b.src); err != nil {
			return err
		}
	}
	for _, dir := range l.cfg.Expose {
		b, err := stage.bind(dir)
		if err != nil {
			return err
		}
		src.expose = append(src.expose, b)
	}
	cmd.Path = l.cfg.Bubblewrap
	if rel, ok := strings.CutPrefix(cmd.Path, filepath.Clean(l.cfg.Codex)+"/"); ok {
		cmd.Path = filepath.Join(src.codex, rel)
	} else if stage.dir != "" {
		dir, err := stage.bind(filepath.Dir(cmd.Path))
		if err != nil {
			return err
		}
		cmd.Path = filepath.Join(dir, filepath.Base(cmd.Path))
	}
	cmd.Args = l.cfg.bwrapArgs(src, paths, l.program(s), s.Args)
	return nil
}

// await waits until bubblewrap has made the namespaces and named the first
// process, which it then holds until it is released.
func await(ctx context.Context, cmd *exec.Cmd, r *os.File, d *json.Decoder) (*namespaces, error) {
	deadline := time.Now().Add(startWait)
	if t, ok := ctx.Deadline(); ok && t.Before(deadline) {
		deadline = t
	}
	if err := r.SetReadDeadline(deadline); err != nil {
		return nil, fmt.Errorf("jail: start: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var st status
	if err := d.Decode(&st); err != nil {
		return nil, fmt.Errorf("jail: start: %w", err)
	}
	if st.ChildPID == nil {
		return nil, errors.New("jail: start: bubblewrap named no process")
	}
	// init waits to be released and cannot have been reaped: the number is its.
	fd, err := unix.PidfdOpen(*st.ChildPID, 0)
	if err != nil {
		return nil, fmt.Errorf("jail: start: pidfd_open: %w", err)
	}
	return &namespaces{outer: cmd, init: *st.ChildPID, initFD: os.NewFile(uintptr(fd), "pidfd")}, nil
}

// failed ends a bubblewrap that built no jail and explains it.
func failed(cmd *exec.Cmd, p *pipes, cause error) error {
	// It has usually exited by itself. Its group, because a child that waits to
	// be set up is not tied to it yet and would wait for ever.
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	_ = cmd.Wait()
	out := make([]byte, 2048)
	// Nothing holds the pipe's other end any more, so this ends.
	k, _ := io.ReadFull(p.parent[2], out)
	if !errors.Is(cause, io.EOF) {
		return cause
	}
	return explain(strings.TrimSpace(string(out[:k])))
}

// limit applies the limits to init, from which all others inherit. It must come
// after init's user namespace was made: the number of processes is compared
// within the namespace with the limit of whoever forks, and outside of it with
// the limit of whoever made the namespace. Set any earlier, it would be one
// limit for the sum of all trees, and one job could keep every other from
// starting a process. It runs on the launcher's thread, see becomeReal.
func limit(pid int, l Limits) {
	for _, r := range []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_CORE, 0}, // a core file would hold the job's token
		{unix.RLIMIT_NPROC, l.Processes},
		{unix.RLIMIT_NOFILE, l.OpenFiles},
		{unix.RLIMIT_FSIZE, l.FileBytes},
	} {
		if r.most == 0 && r.resource != unix.RLIMIT_CORE {
			continue
		}
		var own unix.Rlimit
		if unix.Prlimit(pid, r.resource, nil, &own) == nil {
			r.most = min(r.most, own.Max) // more needs a privilege and would be refused
		}
		_ = unix.Prlimit(pid, r.resource, &unix.Rlimit{Cur: r.most, Max: r.most}, nil)
	}
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(oomScore), 0)
}

// wait is the owner of a tree's end.
func (p *Process) wait(n *namespaces, statusR *os.File, d *json.Decoder) {
	defer close(p.done)
	_ = n.outer.Wait() // its outcome is in ProcessState
	// Bubblewrap ends with the program, and what the program left behind ends
	// with bubblewrap; do not rely on the order.
	n.kill()
	n.gone()
	p.state = ExitState{Code: exitCode(n.outer.ProcessState)}
	_ = statusR.SetReadDeadline(time.Now().Add(time.Second))
	var st status
	if d.Decode(&st) == nil && st.ExitCode != nil {
		// Bubblewrap reports a code only for a program that was executed.
		p.state.Started = true
		p.state.Code = *st.ExitCode
	} else if n.outer.ProcessState != nil && exitCode(n.outer.ProcessState) >= 128 {
		p.state.Started = true // killed, with or without us
	}
	_ = statusR.Close()
}
