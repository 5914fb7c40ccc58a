package gcptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/pkg/wait"
)

// Kind is one of the official emulators.
type Kind string

// The emulators that the gateway needs.
const (
	PubSub    Kind = "pubsub"
	Firestore Kind = "firestore"
)

// Env is the standard variable in which clients look for the emulator.
func (k Kind) Env() string { return strings.ToUpper(string(k)) + "_EMULATOR_HOST" }

// startTimeout is far above the 3 to 6 s an emulator takes, also on a machine
// that starts six of them: it ends a hang.
const startTimeout = 5 * time.Minute

// Emulator is one running emulator. What it holds is in its memory only: a
// restart forgets every topic, subscription, message and document.
type Emulator struct {
	// Addr is host:port on the loopback interface.
	Addr string
	kind Kind

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// StartEmulator starts an emulator on a free port, or on addr when that is not
// empty, and returns when it serves. The error is ErrNoEmulators where it is
// not installed.
func StartEmulator(ctx context.Context, kind Kind, addr string) (*Emulator, error) {
	found, err := findSDK()
	if err != nil {
		return nil, err
	}
	if addr == "" {
		addr = freeport.Addr()
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("gcptest: %w", err)
	}
	e := &Emulator{Addr: addr, kind: kind}
	if err := e.spawn(found.command(kind, host, port)); err != nil {
		return nil, fmt.Errorf("gcptest: start the %s emulator: %w", kind, err)
	}
	if err := e.serves(ctx); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return e, nil
}

// spawn starts the process. The goroutine that waits for it keeps the thread
// that started it: the kernel ends a child with the thread it came from, not
// with the process, and Go ends threads as it likes.
func (e *Emulator) spawn(args []string) error {
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it outlives the call; Stop ends it
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()} //nolint:forbidigo // a test's process, and Java's launcher needs the path
	cmd.SysProcAttr = dieWithParent()
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed: its exit code says nothing
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	e.mu.Lock()
	e.cmd, e.done = cmd, done
	e.mu.Unlock()
	return nil
}

// serves waits until the emulator answers. Both answer HTTP on their port.
func (e *Emulator) serves(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("gcptest: the %s emulator did not serve in %s", e.kind, startTimeout))
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Addr+"/", http.NoBody)
		if err != nil {
			return fmt.Errorf("gcptest: %w", err)
		}
		res, err := client.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		select {
		case <-e.done: // whoever has answered is somebody else
			return fmt.Errorf("gcptest: the %s emulator ended at its start", e.kind)
		default:
		}
		if err == nil {
			return nil
		}
		if !wait.For(ctx, 50*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// Pause stops the process where it stands (SIGSTOP), and returns when it does:
// it answers nobody, and keeps all connections.
func (e *Emulator) Pause() error {
	if err := e.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	e.mu.Lock()
	pid := e.cmd.Process.Pid
	e.mu.Unlock()
	if err := stands(pid); err != nil {
		return fmt.Errorf("gcptest: pause the %s emulator: %w", e.kind, err)
	}
	return nil
}

// Resume lets a paused emulator go on.
func (e *Emulator) Resume() error { return e.signal(syscall.SIGCONT) }

func (e *Emulator) signal(sig syscall.Signal) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("gcptest: signal the %s emulator: %w", e.kind, err)
	}
	return nil
}

// Stop kills the emulator and waits for its end. Stopping twice is fine.
func (e *Emulator) Stop() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("gcptest: stop the %s emulator: %w", e.kind, err)
	}
	<-e.done
	return nil
}

// Restart kills the emulator and starts an empty one at the same address.
func (e *Emulator) Restart(ctx context.Context) error {
	if err := e.Stop(); err != nil {
		return err
	}
	fresh, err := StartEmulator(ctx, e.kind, e.Addr)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cmd, e.done = fresh.cmd, fresh.done
	return nil
}
