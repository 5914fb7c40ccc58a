package ondemand

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"codexgateway.dev/pkg/bus"
)

// errIdle is why the subscription is given up.
var errIdle = errors.New("ondemand: nobody needs it")

// Options of a [Subscription]; all but Lost are required.
type Options struct {
	Bus  bus.Receiver
	Name string
	// MaxOutstanding is how many messages are handled at once.
	MaxOutstanding int
	// IdleAfter is how long the subscription stays open without demand.
	IdleAfter time.Duration
	// Demand is how many need it now, and how many ever did.
	Demand func() (now int, ever int64)
	// Opened and Lost are those of bus.KeepOptions.
	Opened func(ctx context.Context)
	Lost   func()
	Logger *slog.Logger
}

// Subscription is one that is open on demand. One Run, any number of Wants.
type Subscription struct {
	opt Options
	// wanted, of capacity 1, tells Run that there is demand.
	wanted chan struct{}
}

// New returns a subscription that is not open.
func New(opt Options) *Subscription { return &Subscription{opt: opt, wanted: make(chan struct{}, 1)} }

// Want says that there is demand now. It never waits.
func (s *Subscription) Want() {
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}

// Run holds the subscription while there is demand, until ctx ends. An error
// means that it can never be opened.
func (s *Subscription) Run(ctx context.Context, handle bus.Handler) error {
	for {
		select {
		case <-s.wanted:
		case <-ctx.Done():
			return nil
		}
		if n, _ := s.opt.Demand(); n == 0 {
			continue // it has gone again
		}
		if err := s.listen(ctx, handle); err != nil {
			return err
		}
		if n, _ := s.opt.Demand(); n > 0 {
			s.Want() // it came while the subscription was given up
		}
	}
}

// listen keeps the subscription open until ctx ends or it is idle.
func (s *Subscription) listen(ctx context.Context, handle bus.Handler) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var idle sync.WaitGroup
	idle.Go(func() {
		if s.awaitIdle(ctx) {
			giveUp(errIdle)
		}
	})
	err := bus.Keep(ctx, s.opt.Bus, s.opt.Name, bus.KeepOptions{
		MaxOutstanding: s.opt.MaxOutstanding, Logger: s.opt.Logger, Opened: s.opt.Opened, Lost: s.opt.Lost,
	}, handle)
	giveUp(nil)
	idle.Wait()
	return err
}

// awaitIdle returns true when there was no demand for IdleAfter, false when ctx
// ends. It looks only that often, so it may take twice as long.
func (s *Subscription) awaitIdle(ctx context.Context) bool {
	tick := time.NewTicker(s.opt.IdleAfter)
	defer tick.Stop()
	const busy = -1
	for before := int64(busy); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
		now, ever := s.opt.Demand()
		switch {
		case now > 0:
			before = busy
		case before == ever:
			return true
		default:
			before = ever
		}
	}
}
