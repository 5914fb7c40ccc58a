package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"codexgateway.dev/pkg/wait"
)

// Pauses before a broken subscription is opened again: doubling between the two.
const (
	keepFirst = time.Second
	keepMost  = 30 * time.Second
)

// Receiver is the part of a bus that [Keep] uses.
type Receiver interface {
	Receive(ctx context.Context, subscription string, opt ReceiveOptions, h Handler) error
}

var _ Receiver = (*Bus)(nil)

// KeepOptions bound and watch a kept subscription.
type KeepOptions struct {
	// MaxOutstanding is that of [ReceiveOptions].
	MaxOutstanding int
	// Logger gets one line when the subscription breaks and one when it hears
	// again, however often it is tried in between.
	Logger *slog.Logger
	// Opened is called each time the subscription begins to hear; its context
	// ends with that opening. Whatever was published before must be read from
	// documents: this is the moment to do it. nil: nothing to do.
	Opened func(ctx context.Context)
	// Lost is called after each Opened, when the subscription no longer hears.
	Lost func()
}

// Keep receives until ctx ends and then returns nil. A subscription that breaks
// or cannot be opened is opened again, after a second at first and half a minute
// at most: the bus being away is no reason to be away too, because what it
// carries is in documents. What can never heal is returned: a closed bus, an
// undeclared subscription, wrong options.
func Keep(ctx context.Context, r Receiver, subscription string, opt KeepOptions, h Handler) error {
	broken := false
	for pause := keepFirst; ; pause = min(2*pause, keepMost) {
		heard, err := keepOnce(ctx, r, subscription, &opt, broken, h)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whatever ended it, the end was asked for
		}
		switch {
		case errors.Is(err, ErrClosed), errors.Is(err, ErrInvalid), errors.Is(err, ErrUnknownTopic):
			return err
		case heard:
			broken, pause = false, keepFirst
		}
		if !broken {
			opt.Logger.WarnContext(ctx, "bus subscription broke, it is opened again and again",
				slog.String("subscription", subscription), slog.Any("error", err))
		}
		broken = true
		if !wait.For(ctx, pause) {
			return nil
		}
	}
}

// keepOnce is one opening; heard says whether it came to hear anything.
func keepOnce(ctx context.Context, r Receiver, subscription string, opt *KeepOptions, broken bool, h Handler) (heard bool, err error) {
	opening, end := context.WithCancel(ctx)
	defer end()
	ready := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-ready:
		case <-opening.Done():
			return
		}
		heard = true
		if broken {
			opt.Logger.InfoContext(ctx, "bus subscription hears again", slog.String("subscription", subscription))
		}
		if opt.Opened != nil {
			opt.Opened(opening)
		}
	})
	err = r.Receive(ctx, subscription, ReceiveOptions{MaxOutstanding: opt.MaxOutstanding, Ready: ready}, h)
	end()
	watch.Wait()
	if heard && opt.Lost != nil {
		opt.Lost()
	}
	if err == nil && ctx.Err() == nil {
		err = fmt.Errorf("bus: receive from %s: %w: it ended by itself", subscription, ErrUnavailable)
	}
	return heard, err
}
