package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

const (
	curveSingle = 100
	curveBurst  = 1000
	curveRuns   = 3
	// curveFlat is how much more the longest log may cost than the shortest
	// before it looks like growth rather than noise.
	curveFlat = 1.5
)

// curveLengths are the lengths of the log, in events.
var curveLengths = []int{100, 1000, 10_000, 50_000} //nolint:gochecknoglobals // a table

// measureCurve takes whether a long log costs more than a short one: the time of
// one append until it is durable, and of one event's way to a watcher in a burst
// that is stored while it watches.
func measureCurve(ctx context.Context, b *bench) (_ []figure, err error) {
	g, err := b.startEdge(ctx, "curve")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	appends, delivers := map[int]times{}, map[int]times{}
	for range curveRuns {
		if err := b.curveOnce(ctx, g, appends, delivers); err != nil {
			return nil, err
		}
	}
	var figures []figure
	for _, kind := range []struct {
		name string
		took map[int]times
		runs int
	}{{"append", appends, curveRuns * curveSingle}, {"deliver", delivers, curveRuns}} {
		micros := func(length int) float64 {
			return round(float64(kind.took[length].median()) / float64(time.Microsecond))
		}
		curve := map[string]any{}
		for _, length := range curveLengths {
			curve[fmt.Sprintf("us_at_%d", length)] = micros(length)
		}
		short, long := curveLengths[0], curveLengths[len(curveLengths)-1]
		figures = append(figures, atMost(curveFlat, "curve_"+kind.name, micros(long)/micros(short), "ratio", kind.runs, curve))
	}
	return figures, nil
}

// curveOnce grows one log through all lengths.
func (b *bench) curveOnce(ctx context.Context, g *gateway, appends, delivers map[int]times) error {
	var jobID string
	if err := errors.Join(g.say(fmt.Sprintf("grow %d %d", curveSingle, curveBurst)), answer(ctx, g, &jobID)); err != nil {
		return err
	}
	for _, length := range curveLengths {
		var single, burst grown
		if err := errors.Join(g.say(strconv.Itoa(length)), answer(ctx, g, &single)); err != nil {
			return err
		}
		appends[length] = append(appends[length], single.Appends...)
		c, err := dialLean(ctx, &g.endpoint, resumeBuffer)
		if err != nil {
			return err
		}
		if err := errors.Join(c.subscribe(jobID, single.Last), g.say("burst")); err != nil {
			return errors.Join(err, c.close())
		}
		var at time.Time
		for seq := single.Last; seq < single.Last+curveBurst; {
			if seq, at, err = c.event(); err != nil {
				return errors.Join(err, c.close())
			}
		}
		if err := errors.Join(c.close(), answer(ctx, g, &burst)); err != nil {
			return err
		}
		delivers[length] = append(delivers[length], time.Duration(at.UnixNano()-burst.Begin)/curveBurst)
	}
	return g.say("end")
}
