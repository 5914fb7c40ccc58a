package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/jsonrpc"
)

const (
	doorConns   = 16
	doorPairs   = 5
	doorRun     = 3 * time.Second
	doorRatio   = 0.7
	doorAddedMS = 0.3
	// doorShare is how much of what the edge can do it is asked for when its
	// latency is taken.
	doorShare = 0.25

	rateClients = 50
	rateRun     = 10 * time.Second
	rateTarget  = 800
)

// measureDoor compares an authenticated, counted call of the edge with a bare
// handler: how many a second, and how much later the slowest are when both have
// little to do. By turns, each in a process of its own.
func measureDoor(ctx context.Context, b *bench) (_ []figure, err error) {
	g, err := b.startEdge(ctx, "door")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	bare, err := b.startBare(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()
	body, err := jsonrpc.EncodeCall(jsonrpc.IntID(1), apiv1.MethodSystemPing, nil)
	if err != nil {
		return nil, err
	}
	var loads [2]*load
	for i, to := range []*gateway{g, bare} {
		if loads[i], err = newLoad(to, body, `"result":`, doorConns); err != nil {
			return nil, err
		}
		if _, err := loads[i].closed(ctx, submitWarm); err != nil {
			return nil, err
		}
	}
	rates, err := byTurns(loads, func(l *load) (float64, error) { return l.closed(ctx, doorRun) })
	if err != nil {
		return nil, err
	}
	rate := doorShare * medianOf(rates[0])
	slowest, err := byTurns(loads, func(l *load) (float64, error) {
		took, err := l.open(ctx, rate, doorRun)
		return millis(took.at(0.99)), err
	})
	if err != nil {
		return nil, err
	}
	return []figure{
		atLeast(doorRatio, "ping_rate_ratio", medianOf(rates[0])/medianOf(rates[1]), "ratio", doorPairs, map[string]any{
			"edge_per_s": round(medianOf(rates[0])), "bare_per_s": round(medianOf(rates[1])), "connections": doorConns,
		}),
		atMost(doorAddedMS, "ping_added_p99", medianOf(slowest[0])-medianOf(slowest[1]), "ms", doorPairs, map[string]any{
			"edge_p99_ms": round(medianOf(slowest[0])), "bare_p99_ms": round(medianOf(slowest[1])), "rate_per_s": round(rate),
		}),
	}, nil
}

// byTurns measures two in pairs, who begins alternates.
func byTurns(loads [2]*load, take func(*load) (float64, error)) (values [2][]float64, err error) {
	for pair := range doorPairs {
		for turn := range loads {
			i := (pair + turn) % 2
			v, err := take(loads[i])
			if err != nil {
				return values, err
			}
			values[i] = append(values[i], v)
		}
	}
	return values, nil
}

// medianOf is the middle value of an odd number of them.
func medianOf(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }

// measureRate takes how many submits a second become durable when fifty clients
// submit one after the other, with no worker.
func measureRate(ctx context.Context, b *bench) (_ []figure, err error) {
	g, err := b.startEdge(ctx, "rate")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	l, err := newSubmits(g, rateClients)
	if err != nil {
		return nil, err
	}
	if _, err := l.closed(ctx, submitWarm); err != nil {
		return nil, err
	}
	rate, err := l.closed(ctx, rateRun)
	if err != nil {
		return nil, err
	}
	return []figure{atLeast(rateTarget, "submit_rate_50", rate, "jobs/s", 1, map[string]any{
		"clients": rateClients, "seconds": rateRun.Seconds(),
	})}, nil
}
