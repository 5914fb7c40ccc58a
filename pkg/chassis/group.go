package chassis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// ErrStopping is in the cause of every context that a group cancels.
var ErrStopping = errors.New("the service is stopping")

// errStuck is why a step that outlasts its stage failed.
var errStuck = errors.New("did not finish in time")

// Component is one part of a service with a life of its own. Every function may
// be nil.
type Component struct {
	Name string
	// Start returns when the component is up; later components start after it.
	Start func(ctx context.Context) error
	// Run works until its context ends, which is after Drain. Returning earlier
	// stops the whole group: with nil in order, with an error as a failure.
	Run func(ctx context.Context) error
	// Quiesce stops taking new work and returns at once.
	Quiesce func(ctx context.Context) error
	// Drain returns when the work in hand is done. Its context ends with the
	// soft limit; work that is not done then is cancelled.
	Drain func(ctx context.Context) error
	// Close releases what the component holds, after Run has returned.
	Close func(ctx context.Context) error
}

// StopLimits bound the stages of a stop. Together with the flush of the
// telemetry (1 s) the defaults stay within the 10 s between SIGTERM and SIGKILL
// of Cloud Run (https://cloud.google.com/run/docs/container-contract).
type StopLimits struct {
	// Quiesce is for all components together. Default 1 s.
	Quiesce time.Duration
	// Drain is the soft limit: how long work in hand may go on. Default 4 s.
	Drain time.Duration
	// Stop is how long components may take to return once cancelled. Default 2 s.
	Stop time.Duration
	// Close is for all components together. Default 1 s.
	Close time.Duration
}

func (l StopLimits) orDefaults() StopLimits {
	or := func(d, def time.Duration) time.Duration {
		if d <= 0 {
			return def
		}
		return d
	}
	return StopLimits{
		Quiesce: or(l.Quiesce, time.Second), Drain: or(l.Drain, 4*time.Second),
		Stop: or(l.Stop, 2*time.Second), Close: or(l.Close, time.Second),
	}
}

// Group starts components in the order they were added and stops them in the
// opposite one. It is a [Service].
type Group struct {
	log    *slog.Logger
	health *Health // nil: a group within another
	limits StopLimits
	parts  []Component
}

var _ Service = (*Group)(nil)

// NewGroup returns an empty group that tells health when it serves and when it
// no longer does. A zero limit means its default.
func NewGroup(log *slog.Logger, health *Health, limits StopLimits) *Group {
	return &Group{log: log, health: health, limits: limits.orDefaults()}
}

// NewInnerGroup returns an empty group for a component that consists of
// components itself. The outer group tells health and the log that the service
// is ready and that it stops, once for all of it.
func NewInnerGroup(log *slog.Logger, limits StopLimits) *Group { return NewGroup(log, nil, limits) }

// Add adds a component, before Run. What others need comes first: it starts
// before them and stops after them.
func (g *Group) Add(c Component) { g.parts = append(g.parts, c) }

// ended is how a component's Run returned.
type ended struct {
	part int
	err  error
}

// Run starts the components, is ready, and works until ctx ends or a component
// returns; then it stops in order: not ready, Quiesce, Drain, cancel, Close,
// each within its limit. It returns all that failed, joined; work cut off by
// the soft limit is logged and no failure.
func (g *Group) Run(ctx context.Context) error {
	// The components outlive ctx by the time of the drain.
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var (
		failures []error
		running  = make(map[int]bool, len(g.parts))
		results  = make(chan ended, len(g.parts))
		started  int
	)
	for i, c := range g.parts {
		if err := startPart(ctx, c); err != nil {
			failures = append(failures, err)
			break
		}
		started++
		if c.Run != nil {
			running[i] = true
			go func() { results <- ended{i, contained(work, c.Run)} }()
		}
	}
	why := errors.New("a component did not start")
	if started == len(g.parts) {
		g.announceReady(ctx)
		select {
		case <-ctx.Done():
			why = context.Cause(ctx)
		case first := <-results:
			delete(running, first.part)
			why = fmt.Errorf("component %s ended", g.parts[first.part].Name)
			if first.err != nil {
				failures = append(failures, fmt.Errorf("%s: %w", g.parts[first.part].Name, first.err))
			}
		}
	}
	g.announceStop(ctx, why)
	failures = append(failures, g.stop(work, cancel, why, g.parts[:started], running, results)...)
	return errors.Join(failures...)
}

func (g *Group) announceReady(ctx context.Context) {
	if g.health != nil {
		g.health.SetReady()
		g.log.LogAttrs(ctx, slog.LevelInfo, "service ready")
	}
}

func (g *Group) announceStop(ctx context.Context, why error) {
	if g.health != nil {
		g.health.SetDraining()
		g.log.LogAttrs(ctx, slog.LevelInfo, "service stopping", slog.String("reason", why.Error()))
	}
}

func startPart(ctx context.Context, c Component) error {
	if c.Start == nil {
		return nil
	}
	if err := contained(ctx, c.Start); err != nil {
		return fmt.Errorf("%s: start: %w", c.Name, err)
	}
	return nil
}

func (g *Group) stop(ctx context.Context, cancel context.CancelCauseFunc, why error, parts []Component, running map[int]bool, results <-chan ended) []error {
	failures := g.inReverse(ctx, parts, "quiesce", g.limits.Quiesce, func(c Component) step { return c.Quiesce })
	failures = append(failures, g.drain(ctx, parts)...)
	cancel(fmt.Errorf("%w: %w", ErrStopping, why))
	failures = append(failures, g.wait(parts, running, results)...)
	// Closing must not be cut off by the cancel above.
	return append(failures, g.inReverse(context.WithoutCancel(ctx), parts, "close", g.limits.Close, func(c Component) step { return c.Close })...)
}

type step = func(ctx context.Context) error

// inReverse runs one step of every component, the last one's first.
func (g *Group) inReverse(ctx context.Context, parts []Component, stage string, limit time.Duration, of func(Component) step) []error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var failures []error
	for _, c := range slices.Backward(parts) {
		if do := of(c); do != nil {
			if err := bounded(ctx, do); err != nil {
				failures = append(failures, fmt.Errorf("%s: %s: %w", c.Name, stage, err))
			}
		}
	}
	return failures
}

// drain waits for the work of all components at once.
func (g *Group) drain(ctx context.Context, parts []Component) []error {
	ctx, cancel := context.WithTimeout(ctx, g.limits.Drain)
	defer cancel()
	outcomes := make([]chan error, len(parts))
	for i, c := range parts {
		if c.Drain != nil {
			outcomes[i] = make(chan error, 1)
			go func() { outcomes[i] <- bounded(ctx, c.Drain) }()
		}
	}
	var failures []error
	for i, c := range parts {
		if outcomes[i] == nil {
			continue
		}
		switch err := <-outcomes[i]; {
		case err == nil:
		case ctx.Err() != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errStuck)):
			g.log.LogAttrs(ctx, slog.LevelWarn, "work in hand is cut off", slog.String("component", c.Name), slog.Duration("after", g.limits.Drain))
		default:
			failures = append(failures, fmt.Errorf("%s: drain: %w", c.Name, err))
		}
	}
	return failures
}

// wait collects the components that were cancelled.
func (g *Group) wait(parts []Component, running map[int]bool, results <-chan ended) []error {
	limit := time.NewTimer(g.limits.Stop)
	defer limit.Stop()
	var failures []error
	for len(running) > 0 {
		select {
		case r := <-results:
			delete(running, r.part)
			if r.err != nil && !errors.Is(r.err, context.Canceled) && !errors.Is(r.err, ErrStopping) {
				failures = append(failures, fmt.Errorf("%s: %w", parts[r.part].Name, r.err))
			}
		case <-limit.C:
			for i := range parts {
				if running[i] {
					failures = append(failures, fmt.Errorf("%s: stop: %w", parts[i].Name, errStuck))
				}
			}
			return failures
		}
	}
	return failures
}

// contained calls do and turns its panic into an error.
func contained(ctx context.Context, do step) (err error) {
	defer contain(&err)
	return do(ctx)
}

// bounded calls do and gives up on it shortly after ctx ends: a step that
// ignores its context must not hold up the stop.
func bounded(ctx context.Context, do step) error {
	const patience = 100 * time.Millisecond
	done := make(chan error, 1)
	go func() { done <- contained(ctx, do) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return errStuck
	}
}
