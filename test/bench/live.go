package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"codexgateway.dev/pkg/apiv1"
)

const (
	seenEvents  = 2000
	seenRate    = 100
	seenLimitMS = 15
	// seenLimit ends a stream that hangs.
	seenLimit = 60 * time.Second

	pings = 2000

	appendSeconds = 3
)

// measureSeen takes the time between the moment an event is durable and the
// moment a WebSocket client has it. Both are read from the clock of one
// machine, in two processes.
func measureSeen(ctx context.Context, b *bench) (_ []figure, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, seenLimit, fmt.Errorf("stream not finished within %s", seenLimit))
	defer cancel()
	g, err := b.startEdge(ctx, "seen")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	s, err := dial(ctx, &g.endpoint)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := g.say(fmt.Sprintf("stream %d %d", seenEvents, seenRate)); err != nil {
		return nil, err
	}
	var jobID string
	if err := answer(ctx, g, &jobID); err != nil {
		return nil, err
	}
	if err := s.call(ctx, apiv1.MethodJobSubscribe, apiv1.SubscribeParams{JobID: jobID}, nil); err != nil {
		return nil, err
	}
	if err := g.say("go"); err != nil {
		return nil, err
	}
	seen := map[int64]time.Time{}
	const before = 2 // job.queued and job.started were there at the subscription
	for last := int64(0); last < seenEvents+before; {
		ev, at, err := s.event(ctx)
		if err != nil {
			return nil, err
		}
		last, seen[ev.Seq] = ev.Seq, at
	}
	var stored map[int64]int64
	if err := answer(ctx, g, &stored); err != nil {
		return nil, err
	}
	var waits times
	for seq, at := range stored {
		waits = append(waits, time.Duration(seen[seq].UnixNano()-at))
	}
	if len(waits) != seenEvents {
		return nil, fmt.Errorf("%d events were stored, not %d", len(waits), seenEvents)
	}
	detail := waits.spread()
	detail["events_per_s"] = seenRate
	return []figure{atMost(seenLimitMS, "stored_to_seen_p99", millis(waits.at(0.99)), "ms", len(waits), detail)}, nil
}

// measurePing takes the round trip of the smallest call on an open WebSocket.
func measurePing(ctx context.Context, b *bench) (_ []figure, err error) {
	g, err := b.startEdge(ctx, "ping")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	s, err := dial(ctx, &g.endpoint)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var trips times
	for range pings {
		begin := time.Now()
		if err := s.call(ctx, apiv1.MethodSystemPing, nil, nil); err != nil {
			return nil, err
		}
		trips = append(trips, time.Since(begin))
	}
	return []figure{informative("ping_p50", millis(trips.at(0.5)), "ms", len(trips), trips.spread())}, nil
}

// measureAppend takes how many events a second become durable, with one job and
// with as many as a worker runs at once.
func measureAppend(ctx context.Context, b *bench) (_ []figure, err error) {
	g, err := b.startEdge(ctx, "append")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	var figures []figure
	for _, writers := range []int{1, 4} {
		if err := g.say(fmt.Sprintf("append %d %d", writers, appendSeconds)); err != nil {
			return nil, err
		}
		var a appended
		if err := answer(ctx, g, &a); err != nil {
			return nil, err
		}
		figures = append(figures, informative(fmt.Sprintf("append_rate_%d", writers), float64(a.Events)/a.Seconds, "events/s", 1,
			map[string]any{"jobs": writers, "events": a.Events, "seconds": round(a.Seconds)}))
	}
	return figures, nil
}

// answer reads the edge's next line.
func answer(ctx context.Context, g *gateway, v any) error {
	line, err := g.line(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(line), v)
}
