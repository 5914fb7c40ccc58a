package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	fanoutWatchers = 1000
	// The steady job says something as often as a busy Codex turn does; the
	// burst is as much at once as the gateway takes.
	fanoutSteady, fanoutSteadyRate = 200, 20
	fanoutBurst, fanoutBurstRate   = 1000, 1_000_000
	fanoutBuffer                   = 16 << 10
	fanoutLimit                    = 2 * time.Minute
)

// measureFanout takes how soon and how fast a thousand WebSocket clients get the
// events of one job. They run in this process, beside the gateway: both share
// the machine's processors.
func measureFanout(ctx context.Context, b *bench) (_ []figure, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fanoutLimit, fmt.Errorf("not finished within %s", fanoutLimit))
	defer cancel()
	g, err := b.startEdge(ctx, "fanout")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	lags, _, err := fanout(ctx, g, fanoutSteady, fanoutSteadyRate)
	if err != nil {
		return nil, err
	}
	detail := lags.spread()
	detail["watchers"], detail["events_per_s"], detail["deliveries_per_s"] = fanoutWatchers, fanoutSteadyRate, fanoutWatchers*fanoutSteadyRate
	figures := make([]figure, 0, 3)
	figures = append(figures,
		informative("fanout_lag_p50", millis(lags.at(0.5)), "ms", len(lags), detail),
		informative("fanout_lag_p99", millis(lags.at(0.99)), "ms", len(lags), map[string]any{}),
	)
	before, _ := ticks(g.cmd.Process.Pid)
	lags, took, err := fanout(ctx, g, fanoutBurst, fanoutBurstRate)
	if err != nil {
		return nil, err
	}
	after, _ := ticks(g.cmd.Process.Pid)
	detail = lags.spread()
	detail["watchers"], detail["events"], detail["seconds"] = fanoutWatchers, fanoutBurst, round(took.Seconds())
	// A tick is 10 ms on every Linux there is; both halves are in it, so this is
	// an upper bound of the gateway's own cost.
	detail["gateway_cpu_us_per_delivery"] = round(float64(after-before) * 10_000 / float64(len(lags)))
	return append(figures, informative("fanout_rate", float64(len(lags))/took.Seconds(), "events/s", len(lags), detail)), nil
}

// fanout opens the watchers, has n events stored at a rate, and returns the time
// from stored to seen of each delivery, and from the first stored to the last
// seen.
func fanout(ctx context.Context, g *gateway, n, rate int) (lags times, took time.Duration, err error) {
	var jobID string
	if err := errors.Join(g.say(fmt.Sprintf("stream %d %d", n, rate)), answer(ctx, g, &jobID)); err != nil {
		return nil, 0, err
	}
	watchers := make([]*lean, fanoutWatchers)
	stop := context.AfterFunc(ctx, func() {
		for _, c := range watchers {
			if c != nil {
				_ = c.close()
			}
		}
	})
	defer stop()
	defer func() {
		for _, c := range watchers {
			if c != nil {
				err = errors.Join(err, c.close())
			}
		}
	}()
	for i := range watchers {
		if watchers[i], err = dialLean(ctx, &g.endpoint, fanoutBuffer); err != nil {
			return nil, 0, err
		}
		if err := watchers[i].subscribe(jobID, 2); err != nil {
			return nil, 0, err
		}
	}
	seen, failed := make([][]time.Time, fanoutWatchers), make([]error, fanoutWatchers)
	var all sync.WaitGroup
	for i, c := range watchers {
		all.Go(func() {
			for want := range int64(n) {
				seq, at, err := c.event()
				if err == nil && seq != want+3 {
					err = fmt.Errorf("event %d, want %d", seq, want+3)
				}
				if err != nil {
					failed[i] = err
					return
				}
				seen[i] = append(seen[i], at)
			}
		})
	}
	if err := g.say("go"); err != nil {
		return nil, 0, err
	}
	var stored map[int64]int64
	err = answer(ctx, g, &stored)
	all.Wait()
	if err := errors.Join(err, errors.Join(failed...)); err != nil {
		return nil, 0, err
	}
	first := time.Unix(0, stored[3])
	for _, at := range seen {
		for i := range at {
			lags = append(lags, time.Duration(at[i].UnixNano()-stored[int64(i)+3]))
			took = max(took, at[i].Sub(first))
		}
	}
	return lags, took, nil
}
