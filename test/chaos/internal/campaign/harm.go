package campaign

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"codexgateway.dev/pkg/wait"
	"codexgateway.dev/test/chaos/internal/node"
	"codexgateway.dev/test/chaos/internal/remote"
	"codexgateway.dev/test/chaos/internal/schedule"
	"codexgateway.dev/test/chaos/internal/wire"
)

// phases are the faults of a schedule's phases; the other actions have none.
var phases = map[schedule.Action]wire.Faults{ //nolint:gochecknoglobals,exhaustive // a constant, see above
	schedule.SlowStore:     {Slow: 150 * time.Millisecond},
	schedule.LossyBus:      {Lose: 0.4, Duplicate: 0.2, Delay: 0.4, MaxDelay: time.Second},
	schedule.RefuseCommits: {Refuse: 0.5, NoRead: 0.2},
	schedule.LoseAnswers:   {Unanswered: 0.5},
	schedule.FullDisk:      {Full: true},
}

// harmer does what a schedule says.
type harmer struct {
	fleet *fleet
	log   *slog.Logger
	host  *remote.Host

	mu     sync.Mutex
	active []schedule.Action
	done   map[schedule.Action]int
	kills  int
}

func newHarmer(f *fleet) *harmer {
	return &harmer{fleet: f, log: f.cfg.Logger, host: remote.At(node.Socket(f.cfg.Dir)), done: map[schedule.Action]int{}}
}

// run does every step at its time and returns when the last is over, or when ctx
// has ended. Then nothing is frozen any more.
func (h *harmer) run(ctx context.Context, steps []schedule.Step) {
	begun := time.Now()
	var open sync.WaitGroup
	for _, s := range steps {
		if !wait.For(ctx, time.Until(begun.Add(s.At))) {
			break
		}
		open.Go(func() {
			done := h.do(ctx, s)
			h.log.DebugContext(ctx, "harm", slog.String("step", s.String()), slog.Bool("done", done))
			if done {
				h.count(s.Action)
			}
		})
	}
	open.Wait()
}

// do is one step; false: there was nothing to harm.
func (h *harmer) do(ctx context.Context, s schedule.Step) bool {
	f := h.fleet
	switch s.Action {
	case schedule.KillEdge:
		return f.edges[s.Target].harm(syscall.SIGKILL)
	case schedule.KillWorker:
		return f.workers[s.Target].harm(syscall.SIGKILL)
	case schedule.KillReconciler:
		return f.reconcilers[s.Target].harm(syscall.SIGKILL)
	case schedule.KillHost:
		return f.host.harm(syscall.SIGKILL)
	case schedule.TermWorker:
		return f.workers[s.Target].harm(syscall.SIGTERM)
	case schedule.TermEdge:
		return f.edges[s.Target].harm(syscall.SIGTERM)
	case schedule.FreezeWorker:
		return f.workers[s.Target].freeze(ctx, s.For)
	case schedule.KillCodex:
		return killCodex(f.workers[s.Target].pid())
	case schedule.PausePubSub:
		return f.cloud.pause(ctx, f.cloud.PubSub, s.For)
	case schedule.PauseFirestore:
		return f.cloud.pause(ctx, f.cloud.Firestore, s.For)
	case schedule.RestartPubSub:
		return f.cloud.restart(ctx)
	default:
		return h.phase(ctx, s)
	}
}

// killCodex kills one of the Codex processes of a worker.
func killCodex(worker int) bool {
	all := servers(worker)
	if worker == 0 || len(all) == 0 {
		return false
	}
	p, err := os.FindProcess(all[rand.IntN(len(all))])
	return err == nil && p.Kill() == nil
}

// phase makes the host do something wrong for a time.
func (h *harmer) phase(ctx context.Context, s schedule.Step) bool {
	h.mu.Lock()
	h.active = append(h.active, s.Action)
	h.fleet.setFaults(h.faults())
	h.mu.Unlock()
	h.tell(ctx)
	wait.For(ctx, s.For)
	h.mu.Lock()
	for i, a := range h.active {
		if a == s.Action {
			h.active = append(h.active[:i], h.active[i+1:]...)
			break
		}
	}
	h.fleet.setFaults(h.faults())
	h.mu.Unlock()
	h.tell(ctx)
	return true
}

// faults are those of the campaign and of all phases under way. The lock is held.
func (h *harmer) faults() wire.Faults {
	f := h.fleet.cfg.Faults
	for _, a := range h.active {
		p := phases[a]
		f.Lose, f.Duplicate, f.Delay = max(f.Lose, p.Lose), max(f.Duplicate, p.Duplicate), max(f.Delay, p.Delay)
		f.MaxDelay, f.Slow = max(f.MaxDelay, p.MaxDelay), max(f.Slow, p.Slow)
		f.Refuse, f.Unanswered, f.NoRead = max(f.Refuse, p.Refuse), max(f.Unanswered, p.Unanswered), max(f.NoRead, p.NoRead)
		f.Full = f.Full || p.Full
	}
	return f
}

// tell tells the host what to do wrong, until it knows or ctx ends: one that is
// down learns it at its start, but one that starts right now may have begun with
// what was right before. Whoever else changes it meanwhile is told of too.
func (h *harmer) tell(ctx context.Context) {
	if h.fleet.host == nil {
		return
	}
	for {
		f := h.fleet.currentFaults()
		call, cancel := context.WithTimeout(ctx, time.Second)
		err := h.host.SetFaults(call, f)
		cancel()
		if err == nil && f == h.fleet.currentFaults() {
			return
		}
		if !wait.For(ctx, 50*time.Millisecond) {
			return
		}
	}
}

func (h *harmer) count(a schedule.Action) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done[a]++
	switch a {
	case schedule.KillEdge, schedule.KillWorker, schedule.KillReconciler, schedule.KillHost, schedule.KillCodex, schedule.RestartPubSub:
		h.kills++
	case schedule.FreezeWorker, schedule.TermWorker, schedule.TermEdge, schedule.SlowStore, schedule.LossyBus,
		schedule.RefuseCommits, schedule.LoseAnswers, schedule.FullDisk, schedule.PausePubSub, schedule.PauseFirestore:
	}
}
