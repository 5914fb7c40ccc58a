package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"codexgateway.dev/services/worker/internal/broker"
	"codexgateway.dev/services/worker/internal/codex"
	"codexgateway.dev/services/worker/internal/jail"
	"codexgateway.dev/services/worker/internal/workspace"
)

// stopGrace is how long Codex may take to end by itself when a slot closes;
// measured 40 ms, so this is generous and still invisible.
const stopGrace = 500 * time.Millisecond

// Slot is one initialised Codex process with everything that belongs to it.
type Slot struct {
	// Dir is the slot's directory on the host. Home, Workspace and Tmp lie in it
	// and are the job's; State too, but no job can see it.
	Dir, Home, Workspace, Tmp, State string
	// Empty is the empty workspace a fresh slot has.
	Empty *workspace.Workspace
	// Paths are the same directories as Codex and its commands see them.
	Paths   jail.Paths
	Codex   *codex.Client
	Session *broker.Session
	// Started is how long the process took to answer initialize.
	Started time.Duration

	proc   *jail.Process
	refill func()

	mu      sync.Mutex
	handler func(codex.Notification)
}

// Handle sets who hears Codex's notifications from now on. Those of a slot
// without a job are dropped: they speak of no job.
func (s *Slot) Handle(f func(codex.Notification)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = f
}

func (s *Slot) notify(n codex.Notification) {
	s.mu.Lock()
	f := s.handler
	s.mu.Unlock()
	if f != nil {
		f(n)
	}
}

// Alive reports whether the process still runs.
func (s *Slot) Alive() bool {
	select {
	case <-s.proc.Done():
		return false
	case <-s.Codex.Done():
		return false
	default:
		return true
	}
}

// Gone is closed when every process of the slot has ended.
func (s *Slot) Gone() <-chan struct{} { return s.proc.Done() }

// Kill ends the slot's processes now; Close must still be called.
func (s *Slot) Kill() { s.proc.Kill() }

// HostPath translates a path as Codex sees it into the host's. ok is false for
// a path outside the slot.
func (s *Slot) HostPath(inside string) (string, bool) {
	for _, d := range []struct{ in, host string }{
		{s.Paths.CodexHome, s.Home}, {s.Paths.Workspace, s.Workspace}, {s.Paths.Tmp, s.Tmp},
	} {
		if rel, err := filepath.Rel(d.in, inside); err == nil && filepath.IsLocal(rel) {
			return filepath.Join(d.host, rel), true
		}
	}
	return "", false
}

// Close destroys the slot: token dead, every process gone, files removed. It
// returns when that is so. ctx hurries it, nothing stops it.
func (s *Slot) Close(ctx context.Context) error {
	defer s.refill()
	if s.Session != nil {
		s.Session.Close()
	}
	_ = s.Codex.Close() // a process that is gone already is what we want
	err := s.proc.Stop(ctx, stopGrace)
	<-s.Codex.Done()
	for _, f := range []*os.File{s.proc.Stdin, s.proc.Stdout, s.proc.Stderr} {
		_ = f.Close() // closed before, some of them
	}
	return errors.Join(err, workspace.Remove(s.Dir))
}
