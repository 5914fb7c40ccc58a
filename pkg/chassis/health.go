package chassis

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// readyTTL is how long one round of checks answers everyone: /ready needs no
// key, so it must not be a way to load the dependencies.
const readyTTL = time.Second

// checkTimeout bounds one dependency's check when it has no own limit.
const checkTimeout = 2 * time.Second

// Health is whether the process is alive and ready. It is alive as long as it
// answers; it is ready when it was told so and every dependency's check passes.
type Health struct {
	log *slog.Logger
	now func() time.Time

	state atomic.Int32

	mu     sync.Mutex
	checks []*check

	// gate admits one round of checks at a time; last is behind it.
	gate chan struct{}
	last Report
	at   time.Time
}

// States of the process itself.
const (
	starting int32 = iota
	serving
	draining
)

// check is one dependency. Only one run of it is ever under way: a check that
// ignores its context must not pile up.
type check struct {
	name    string
	timeout time.Duration
	ask     func(ctx context.Context) error
	busy    atomic.Bool
	// failing is behind Health.gate.
	failing bool
}

// Report is one round of checks: the service itself first, then the
// dependencies in the order they were added.
type Report struct {
	Ready bool
	Lines []ReadyLine
}

// ReadyLine is one line of /ready. Status is "ok", "starting", "draining",
// "failed" or "timeout".
type ReadyLine struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	// Reason is why a check failed, for people: what is missing and what to do. It
	// is in the log and on the internal listener only, because anyone may ask the
	// others.
	Reason string `json:"reason,omitempty"`
}

// NewHealth returns a process that is alive and not ready.
func NewHealth(log *slog.Logger) *Health {
	return &Health{log: log, now: time.Now, gate: make(chan struct{}, 1)}
}

// AddCheck adds a dependency. ask must respect its context; timeout 0 means 2 s.
// A process that already answers probes may add some: the next one asks them.
func (h *Health) AddCheck(name string, timeout time.Duration, ask func(ctx context.Context) error) {
	if timeout <= 0 {
		timeout = checkTimeout
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, &check{name: name, timeout: timeout, ask: ask})
}

// all are the checks there are by now.
func (h *Health) all() []*check {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.checks)
}

// SetReady marks the start as done.
func (h *Health) SetReady() { h.state.CompareAndSwap(starting, serving) }

// SetDraining marks the process as going away; there is no way back.
func (h *Health) SetDraining() { h.state.Store(draining) }

// Check reports readiness, at most a second old.
func (h *Health) Check(ctx context.Context) Report {
	self := ReadyLine{Name: "service", Status: "ok"}
	switch h.state.Load() {
	case starting:
		self.Status = "starting"
	case draining:
		self.Status = "draining"
	}
	deps := h.dependencies(ctx)
	return Report{
		Ready: self.Status == "ok" && deps.Ready,
		Lines: append([]ReadyLine{self}, deps.Lines...),
	}
}

// dependencies runs the checks at once, or returns the last round's outcome.
func (h *Health) dependencies(ctx context.Context) Report {
	select {
	case h.gate <- struct{}{}:
		defer func() { <-h.gate }()
	case <-ctx.Done():
		return Report{Lines: []ReadyLine{{Name: "dependencies", Status: "timeout"}}}
	}
	checks := h.all()
	// A round that was before a check was added says nothing about it.
	if len(h.last.Lines) == len(checks) && !h.at.IsZero() && h.now().Sub(h.at) < readyTTL {
		return h.last
	}
	// The round serves everyone who asks in the next second, so it does not end
	// with the request that happened to start it.
	ctx = context.WithoutCancel(ctx)
	out := Report{Ready: true, Lines: make([]ReadyLine, len(checks))}
	found := make([]error, len(checks))
	var round sync.WaitGroup
	for i, c := range checks {
		round.Go(func() { found[i] = c.run(ctx) })
	}
	round.Wait()
	for i, c := range checks {
		out.Lines[i] = ReadyLine{Name: c.name, Status: "ok"}
		if err := found[i]; err != nil {
			out.Ready = false
			out.Lines[i].Status = "failed"
			if errors.Is(err, context.DeadlineExceeded) {
				out.Lines[i].Status = "timeout"
			}
			out.Lines[i].Reason = err.Error()
		}
		h.report(ctx, c, found[i])
	}
	h.last, h.at = out, h.now()
	return out
}

// report logs a dependency that changed.
func (h *Health) report(ctx context.Context, c *check, err error) {
	if failing := err != nil; failing != c.failing {
		c.failing = failing
		if failing {
			h.log.LogAttrs(ctx, slog.LevelWarn, "dependency failed", slog.String("dependency", c.name), slog.String("error", err.Error()))
		} else {
			h.log.LogAttrs(ctx, slog.LevelInfo, "dependency recovered", slog.String("dependency", c.name))
		}
	}
}

// run asks once, no longer than the limit, even when ask does not obey it.
func (c *check) run(ctx context.Context) error {
	if !c.busy.CompareAndSwap(false, true) {
		return context.DeadlineExceeded // the last one still hangs
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	done := make(chan error, 1)
	go func() {
		var err error
		defer cancel()                 // not before the answer: who waits would hear of the end first
		defer func() { done <- err }() // whoever hears it may ask again
		defer c.busy.Store(false)
		defer contain(&err)
		err = c.ask(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		select { // an answer that came with the end of the context counts
		case err := <-done:
			return err
		default:
			return ctx.Err()
		}
	}
}

// Live serves /health: the process answers, so it is alive.
func (h *Health) Live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte(`{"status":"healthy"}` + "\n"))
	})
}

// Ready serves /ready: 200 or 503, and one JSON line for the service and for
// each dependency.
func (h *Health) Ready() http.Handler { return h.ready(false) }

// Explain serves Ready with reasons, for a listener that only operators reach.
func (h *Health) Explain() http.Handler { return h.ready(true) }

func (h *Health) ready(reasons bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		report := h.Check(r.Context())
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("Cache-Control", "no-store")
		if !report.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		enc := json.NewEncoder(w)
		for _, line := range report.Lines {
			if !reasons {
				line.Reason = ""
			}
			if enc.Encode(line) != nil {
				return // the client is gone
			}
		}
	})
}
