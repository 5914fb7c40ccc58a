package scale

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// callTimeout bounds one call to the platform.
const callTimeout = 15 * time.Second

// Pool is a set of equal workers whose number can be set.
type Pool interface {
	Size(ctx context.Context) (int, error)
	Resize(ctx context.Context, n int) error
}

// Demand is the work that the pool is for.
type Demand struct {
	// Queued jobs may be claimed now; Running ones are under a lease.
	Queued, Running int
	// Workers is how many workers hold those leases.
	Workers int
}

// Bounds are what a pool may be.
type Bounds struct {
	// PerInstance is how many jobs one worker runs at once.
	PerInstance int
	Min, Max    int
	// ShrinkAfter is how long fewer must have been enough.
	ShrinkAfter time.Duration
}

// Want is the size that fits the demand.
func (b Bounds) Want(d Demand) int {
	jobs := d.Queued + d.Running
	return min(max((jobs+b.PerInstance-1)/b.PerInstance, b.Min), b.Max)
}

// Decide is the size the pool should have. current is what it has, quiet for how
// long fewer would have been enough. It grows to what is wanted at once; it
// shrinks after ShrinkAfter, to no fewer than the workers that run jobs, also
// where those are more than Max.
func (b Bounds) Decide(d Demand, current int, quiet time.Duration) int {
	want := b.Want(d)
	if want >= current {
		return want
	}
	if quiet < b.ShrinkAfter {
		return current
	}
	return min(max(want, d.Workers), current)
}

// Scaler sizes one pool. One goroutine uses it.
type Scaler struct {
	Pool   Pool
	Bounds Bounds
	Logger *slog.Logger
	Now    func() time.Time

	// fewer is since when fewer workers would be enough; zero: they are not.
	fewer time.Time
}

// Step looks at the pool once and sets its size if it is not right.
func (s *Scaler) Step(ctx context.Context, d Demand) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	current, err := s.Pool.Size(ctx)
	if err != nil {
		return fmt.Errorf("scale: size of the pool: %w", err)
	}
	now := s.Now()
	switch {
	case s.Bounds.Want(d) >= current:
		s.fewer = time.Time{}
	case s.fewer.IsZero():
		s.fewer = now
	}
	quiet := time.Duration(0)
	if !s.fewer.IsZero() {
		quiet = now.Sub(s.fewer)
	}
	next := s.Bounds.Decide(d, current, quiet)
	if next == current {
		return nil
	}
	if err := s.Pool.Resize(ctx, next); err != nil {
		return fmt.Errorf("scale: resize the pool to %d: %w", next, err)
	}
	s.Logger.InfoContext(ctx, "worker pool resized", slog.Int("from", current), slog.Int("to", next),
		slog.Int("queued", d.Queued), slog.Int("running", d.Running), slog.Int("workers", d.Workers))
	return nil
}
