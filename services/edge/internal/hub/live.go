package hub

import (
	"context"
	"fmt"

	"codexgateway.dev/events"
	"codexgateway.dev/services/edge/internal/ondemand"
)

// listening is the subscription to live batches, open while there are feeds.
// Until it hears, and whenever it does not, position checks alone carry the
// watchers.
func (h *Hub) listening() *ondemand.Subscription {
	return ondemand.New(ondemand.Options{
		Bus: h.bus, Name: events.SubJobProgressEdge, MaxOutstanding: receiveOutstanding, IdleAfter: h.opt.IdleAfter,
		Demand: h.demand, Logger: h.logger,
		Opened: func(ctx context.Context) {
			h.turn(true)
			// What was published while nobody listened is in the log only.
			h.check(ctx, h.all())
		},
		Lost: func() { h.turn(false) },
	})
}

// liveLoop hears live batches until ctx ends.
func (h *Hub) liveLoop(ctx context.Context) error {
	if err := h.subscription.Run(ctx, h.handle); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return nil
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
