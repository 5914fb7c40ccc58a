package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
)

// errIdle is why the subscription is given up: nobody watches.
var errIdle = errors.New("hub: nobody watches")

// liveLoop holds the subscription while there are feeds: an edge that nobody
// watches through has none, and one that starts serves before it has one. Until
// it hears, and whenever it does not, position checks alone carry the watchers.
func (h *Hub) liveLoop(ctx context.Context) error {
	for {
		select {
		case <-h.wanted:
		case <-ctx.Done():
			return nil
		}
		if n, _ := h.demand(); n == 0 {
			continue // it has gone again
		}
		if err := h.listen(ctx); err != nil {
			return fmt.Errorf("hub: %w", err)
		}
		if n, _ := h.demand(); n > 0 {
			signal(h.wanted) // it came while the subscription was given up
		}
	}
}

// listen keeps the subscription open until ctx ends or nobody has watched for
// a while.
func (h *Hub) listen(ctx context.Context) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var idle sync.WaitGroup
	idle.Go(func() {
		if h.awaitIdle(ctx) {
			giveUp(errIdle)
		}
	})
	err := bus.Keep(ctx, h.bus, events.SubJobProgressEdge, bus.KeepOptions{
		MaxOutstanding: receiveOutstanding, Logger: h.logger,
		Opened: func(ctx context.Context) {
			h.turn(true)
			// What was published while nobody listened is in the log only.
			h.check(ctx, h.all())
		},
		Lost: func() { h.turn(false) },
	}, h.handle)
	giveUp(nil)
	idle.Wait()
	return err
}

// awaitIdle returns true when there was no feed for IdleAfter, false when ctx
// ends. It looks only that often, so it may take twice as long.
func (h *Hub) awaitIdle(ctx context.Context) bool {
	tick := time.NewTicker(h.opt.IdleAfter)
	defer tick.Stop()
	const busy = -1
	for before := int64(busy); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
		feeds, watched := h.demand()
		switch {
		case feeds > 0:
			before = busy
		case before == watched:
			return true
		default:
			before = watched
		}
	}
}

// demand is how many feeds there are and how often Watch was called.
func (h *Hub) demand() (feeds int, watched int64) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.feeds), h.watched
}

// turn notes whether live batches are heard.
func (h *Hub) turn(live bool) {
	h.live.Store(live)
	signal(h.turned)
}

// signal marks a channel of capacity 1; a mark that is there already will do.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
