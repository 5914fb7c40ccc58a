package hub

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// checkLoop looks at intervals whether quiet feeds missed something: see
// feed.quiet for why twice in CheckEvery.
func (h *Hub) checkLoop(ctx context.Context) {
	tick := time.NewTicker(h.opt.CheckEvery / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		var quiet []*feed
		for _, f := range h.all() {
			if f.quiet() {
				quiet = append(quiet, f)
			}
		}
		h.check(ctx, quiet)
	}
}

// all returns the feeds there are.
func (h *Hub) all() []*feed {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := make([]*feed, 0, len(h.feeds))
	for _, f := range h.feeds {
		out = append(out, f)
	}
	return out
}

// check compares feeds with the ends of their logs, a few at a time.
func (h *Hub) check(ctx context.Context, feeds []*feed) {
	slots := make(chan struct{}, maxChecks)
	var running sync.WaitGroup
	defer running.Wait()
	for _, f := range feeds {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		running.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, errReadTimeout)
			defer cancel()
			last, closed, err := h.log.Tail(ctx, f.jobID)
			if err != nil {
				h.logger.DebugContext(ctx, "position check failed", slog.String("job_id", f.jobID), slog.Any("error", err))
				return
			}
			f.position(last, closed)
		})
	}
}
