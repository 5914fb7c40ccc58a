package main

import (
	"context"
	"errors"
	"time"

	"codexgateway.dev/pkg/gcp/meter"
	"codexgateway.dev/pkg/wait"
)

const (
	month = 30 * 24 * time.Hour
	days  = 30
)

// idle is what a gateway without work costs in a month.
type idle struct {
	// Loop is a reconciler that runs all the time, Tick one that a scheduler calls
	// every minute.
	Loop reading `json:"loop"`
	Tick reading `json:"tick"`
	// Other is all that is billed besides the reconciler's reads; it must be
	// nothing. Services is the part of the edge, the worker and the notifier.
	Other    meter.Counts `json:"other"`
	Services meter.Counts `json:"services"`
}

// reading is what a month's reads cost.
type reading struct {
	Reads float64 `json:"reads_per_month"`
	List  float64 `json:"dollars_list"`
	Free  float64 `json:"dollars_with_free_tier"`
}

func readingOf(reads float64) reading {
	return reading{Reads: reads, List: reads * perDocRead, Free: max(0, reads/days-freeDocReads) * days * perDocRead}
}

// idleFor is how long services without work are watched.
const idleFor = 3 * time.Second

// measureIdle watches services that have nothing to do; what the reconciler does
// has been counted in sweeps.
func measureIdle(ctx context.Context, b *bench, s *sweeps) (_ *idle, err error) {
	r, err := newRig(ctx, b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.end()) }()
	r.settle(ctx)
	before := r.meter.Counts()
	wait.For(ctx, idleFor)
	out := &idle{Services: r.meter.Counts().Sub(before)}
	out.Other = out.Services.Add(s.Other)
	out.Loop = readingOf(s.reads(month, s.Idle, s.None))
	out.Tick = readingOf(float64(month/time.Minute) * float64(s.None+s.UpkeepReads))
	return out, nil
}
