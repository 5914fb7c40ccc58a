package hub

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

// checkLoop looks at intervals whether feeds missed something. While live
// batches are heard only quiet feeds are looked at: see feed.quiet for why twice
// in CheckEvery. While nothing is heard every feed that somebody waits for is.
func (h *Hub) checkLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		period, due := h.opt.CheckEvery/2, (*feed).quiet
		if !h.live.Load() {
			period, due = min(h.opt.PollEvery, period), (*feed).awaited
		}
		timer.Reset(period)
		select {
		case <-timer.C:
		case <-h.turned:
			continue
		case <-ctx.Done():
			return
		}
		var look []*feed
		for _, f := range h.all() {
			if due(f) {
				look = append(look, f)
			}
		}
		h.check(ctx, look)
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
	var running errgroup.Group
	running.SetLimit(maxChecks)
	for _, f := range feeds {
		if ctx.Err() != nil {
			break
		}
		running.Go(func() error {
			ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, errReadTimeout)
			defer cancel()
			last, closed, err := h.log.Tail(ctx, f.jobID)
			if err != nil {
				h.logger.DebugContext(ctx, "position check failed", slog.String("job_id", f.jobID), slog.Any("error", err))
				return nil // looked at again
			}
			f.position(last, closed)
			return nil
		})
	}
	_ = running.Wait() // none fails
}
