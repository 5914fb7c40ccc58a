package campaign

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/test/chaos/check"
	"codexgateway.dev/test/chaos/internal/schedule"
	"codexgateway.dev/test/chaos/internal/wire"
)

// Schedule is what a campaign of this configuration does to the gateway.
func (c *Config) Schedule() []schedule.Step {
	return schedule.Make(&schedule.Plan{
		Seed: c.Seed, Length: c.Length, Gap: c.Gap, Edges: c.Edges, Workers: c.Workers, Reconcilers: c.Reconcilers,
		Lease: c.Lease, Only: c.Only, Platform: c.Platform,
	})
}

// Run runs a campaign to its end. An error means that it could not be run; what
// it found is in the result.
func Run(ctx context.Context, cfg *Config) (*Result, error) {
	begun := time.Now()
	model, err := mockmodel.Start(context.WithoutCancel(ctx), mockmodel.Options{})
	if err != nil {
		return nil, fmt.Errorf("campaign: %w", err)
	}
	defer func() { _ = model.Stop(context.WithoutCancel(ctx)) }()
	var on *cloud
	if cfg.Platform == schedule.Cloud {
		if on, err = startCloud(ctx, cfg.Logger); err != nil {
			return nil, err
		}
		defer func() { _ = on.Stop() }()
	}
	f, err := newFleet(cfg, model.BaseURL(), on)
	if err != nil {
		return nil, err
	}
	defer f.end()
	if err := f.start(ctx); err != nil {
		return nil, err
	}
	res := &Result{Platform: string(cfg.Platform), Seed: cfg.Seed, Length: cfg.Length.String(), BreakFence: cfg.BreakFence}
	var refusals sync.Mutex
	l := newLoad(cfg, f.urls, func(format string, args ...any) {
		refusals.Lock()
		defer refusals.Unlock()
		res.Refused++
		f.note(format, args...)
	})
	h := newHarmer(f)
	in, err := l.under(ctx, h)
	if err != nil {
		return nil, err
	}
	res.Report = check.Run(in)
	f.end()
	res.Harms, res.Kills, res.Tries = h.done, h.kills, l.tries
	res.Took = time.Since(begun).Round(time.Second).String()
	for _, n := range f.notes {
		if strings.Contains(n, "died by itself") {
			res.Died++
		}
	}
	if res.Alarms, err = f.alarms(); err != nil {
		return nil, err
	}
	res.Notes = f.notes
	res.Passed = !res.Failed() && res.Died == 0 && res.Refused == 0 && res.Alarms == 0
	return res, nil
}

// under runs the load while the gateway is harmed, lets everything settle and
// collects what is there.
func (l *load) under(ctx context.Context, h *harmer) (*check.Input, error) {
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	submitting, stopSubmitting := context.WithTimeout(ctx, l.cfg.Length)
	defer stopSubmitting()
	settled := make(chan struct{})
	go func() { // ends with watching
		defer close(settled)
		l.run(watching, submitting)
	}()
	h.run(submitting, l.cfg.Schedule())
	<-submitting.Done()
	h.fleet.setFaults(wire.Faults{})
	h.tell(ctx)
	l.log.InfoContext(ctx, "nothing is harmed any more, jobs settle", slog.Int("kills", h.kills))
	select {
	case <-settled:
	case <-time.After(l.cfg.Settle):
		stopWatching()
		<-settled
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return l.collect(ctx)
}
