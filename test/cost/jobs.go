package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/pkg/boot"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/gcp/meter"
	"codexgateway.dev/pkg/wait"
	"codexgateway.dev/services/reconciler"
)

// perJob is what one job of a profile costs, on average of those that were run.
type perJob struct {
	Profile profile `json:"profile"`
	Jobs    int     `json:"jobs"`
	Events  int     `json:"events"`
	// Total is of all jobs at the edge, the worker and the notifier, from the
	// submit until nothing more is done for the job.
	Total meter.Counts `json:"total"`
	// Removal is of all jobs, when the reconciler removes their logs a week later.
	Removal meter.Counts `json:"removal"`
	// Dollars are of 1,000 jobs, besides compute and the model.
	Dollars        float64 `json:"dollars_per_1000"`
	RemovalDollars float64 `json:"removal_dollars_per_1000"`
	// With the reconciler's share, one job at a time and ten.
	ReadsOne   float64 `json:"sweep_reads_1_at_a_time"`
	ReadsTen   float64 `json:"sweep_reads_10_at_a_time"`
	DollarsOne float64 `json:"dollars_per_1000_1_at_a_time"`
	DollarsTen float64 `json:"dollars_per_1000_10_at_a_time"`
}

// measureJobs runs jobs of a profile one after the other.
func measureJobs(ctx context.Context, b *bench, p profile, jobs int) (_ *perJob, err error) {
	r, err := newRig(ctx, b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.end()) }()
	out := &perJob{Profile: p, Jobs: jobs}
	// The first job of a process opens its connections and subscriptions.
	if _, err := r.run(ctx, "say hello"); err != nil {
		return nil, err
	}
	r.settle(ctx)
	if _, err := r.removeLogs(ctx); err != nil {
		return nil, err
	}
	before := r.meter.Counts()
	for range jobs {
		n, err := r.run(ctx, p.prompt())
		if err != nil {
			return nil, err
		}
		out.Events += n
	}
	r.settle(ctx)
	out.Total = r.meter.Counts().Sub(before).Add(heartbeats(p, jobs))
	if out.Removal, err = r.removeLogs(ctx); err != nil {
		return nil, err
	}
	out.Dollars = dollars(out.Total) / float64(jobs) * 1000
	out.RemovalDollars = dollars(out.Removal) / float64(jobs) * 1000
	return out, nil
}

// beat is what one heartbeat costs: the job is written, and what is wanted of it
// read.
var beat = meter.Counts{DocWrites: 1, DocReads: 1} //nolint:gochecknoglobals // a constant

// heartbeats are those of jobs that take their real time; they are played in less
// than the time between two.
func heartbeats(p profile, jobs int) (c meter.Counts) {
	for range jobs * int((p.Takes-1)/beatEvery) { // one at the very end does not come
		c = c.Add(beat)
	}
	return c
}

// beatEvery is a third of the lease that services have on Google Cloud.
const beatEvery = 30 * time.Second

// bear adds the reconciler's share.
func (p *perJob) bear(s *sweeps) {
	var one, ten float64
	p.ReadsOne, one = s.share(&p.Profile, 1, s.One)
	p.ReadsTen, ten = s.share(&p.Profile, many, s.Ten)
	p.DollarsOne, p.DollarsTen = p.Dollars+one, p.Dollars+ten
}

// settleQuiet is how long the meter stands still when everything is done that
// follows a job's end.
const settleQuiet = time.Second

// settle waits until nothing more is asked of the cloud.
func (r *rig) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	for last := r.meter.Counts(); wait.For(ctx, settleQuiet); {
		now := r.meter.Counts()
		if now == last {
			return
		}
		last = now
	}
}

// removeLogs makes the sweep of a reconciler of a time when the logs of all jobs
// are to go, and returns what it costs besides the questions of any sweep.
func (r *rig) removeLogs(ctx context.Context) (c meter.Counts, err error) {
	cfg, err := chassis.Load[reconciler.Config](ctx, envconfig.MapLookuper(boot.Defaults()))
	if err != nil {
		return c, err
	}
	cfg.Upkeep = 0
	const late = 30 * 24 * time.Hour
	later := func() time.Time { return time.Now().Add(late) }
	var m meter.Meter
	pf, jobs, err := openMetered(ctx, r.project, "reconciler", &m, later)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, pf.Close()) }()
	repair, err := reconciler.New(cfg, reconciler.Deps{Jobs: jobs, Docs: pf.Docs, Logger: slog.New(slog.DiscardHandler), Now: later})
	if err != nil {
		return c, err
	}
	c = sweep(ctx, repair, &m)
	nothing := sweep(ctx, repair, &m)
	if nothing.DocWrites+nothing.DocDeletes > 0 {
		return c, fmt.Errorf("the second sweep still had something to remove: %+v", nothing)
	}
	return c.Sub(nothing), nil
}
