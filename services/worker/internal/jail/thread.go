package jail

import (
	"context"
	"os"
	"runtime"
)

// thread is one OS thread that starts all processes. See Launcher.
type thread struct {
	work chan func()
	quit chan struct{}
	done chan struct{}
	// stage is where directories are made reachable for the unprivileged user
	// of a root worker, in a mount namespace only this thread and its children
	// see; empty when there is none.
	stage string
	// err is why what an earlier worker left could not be ended.
	err error
}

func startThread(cfg *Config) *thread {
	t := &thread{work: make(chan func()), quit: make(chan struct{}), done: make(chan struct{})}
	ready := make(chan struct{})
	go func() {
		defer close(t.done)
		// Never unlocked: the thread may have a mount namespace of its own, and
		// ending the goroutine locked ends the thread instead of reusing it.
		runtime.LockOSThread()
		if cfg.Mode == Namespace {
			t.stage = openStage()
			if cfg.UID != os.Geteuid() {
				becomeReal(cfg.UID, cfg.GID)
			}
		}
		t.err = endLeftovers(cfg.Mark)
		close(ready)
		for {
			select {
			case f := <-t.work:
				f()
			case <-t.quit:
				return
			}
		}
	}()
	<-ready
	return t
}

// do runs f on the thread and returns its error; after runs there too, but is
// not waited for. ctx bounds the wait for the thread, which serves one start at
// a time; f bounds itself.
func (t *thread) do(ctx context.Context, f func() error, after func()) error {
	res := make(chan error, 1)
	select {
	case t.work <- func() { res <- f(); after() }:
		return <-res
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.quit:
		return ErrClosed
	}
}

// stop ends the thread.
func (t *thread) stop() {
	close(t.quit)
	<-t.done
}
