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
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/gcp/meter"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/reconciler"
	"codexgateway.dev/test/localcloud"
)

// sweeps is what the reconciler reads, counted in single sweeps. How often it
// sweeps is its configuration, so nothing is counted by the clock.
type sweeps struct {
	// Interval between two sweeps while jobs run, Idle while none do, Upkeep
	// between two that look for everything.
	Interval time.Duration `json:"interval_ns"`
	Idle     time.Duration `json:"idle_interval_ns"`
	Upkeep   time.Duration `json:"upkeep_ns"`
	// None, One and Ten are the reads of a sweep with so many jobs running;
	// UpkeepReads are those that an upkeep adds to an idle one.
	None        int64 `json:"reads_idle"`
	One         int64 `json:"reads_1_job"`
	Ten         int64 `json:"reads_10_jobs"`
	UpkeepReads int64 `json:"reads_upkeep"`
	// Other is all that is billed besides reads while nothing is to be repaired:
	// it must be nothing.
	Other meter.Counts `json:"other"`
}

const many = 10

// reads are those of a time with so many reads a sweep.
func (s *sweeps) reads(d, interval time.Duration, each int64) float64 {
	return float64(d)/float64(interval)*float64(each) + float64(d)/float64(s.Upkeep)*float64(s.UpkeepReads)
}

// share is what one job of so many that run beside each other bears of the
// reads, for 1,000 of them in dollars.
func (s *sweeps) share(p *profile, jobs int, each int64) (reads, dollars float64) {
	reads = s.reads(p.Takes, s.Interval, each) / float64(jobs)
	return reads, reads * perDocRead * 1000
}

// measureSweeps counts sweeps of gateways with 0, 1 and 10 jobs under a lease.
func measureSweeps(ctx context.Context, cloud *localcloud.Cloud) (*sweeps, error) {
	cfg, err := chassis.Load[reconciler.Config](ctx, envconfig.MapLookuper(boot.Defaults()))
	if err != nil {
		return nil, err
	}
	out := &sweeps{Interval: cfg.Interval, Idle: cfg.IdleInterval, Upkeep: cfg.Upkeep}
	for _, jobs := range []struct {
		running int
		reads   *int64
	}{{0, &out.None}, {1, &out.One}, {many, &out.Ten}} {
		first, second, err := sweepTwice(ctx, cloud, cfg, jobs.running)
		// The first queries of an emulator on a busy machine; the count begins anew.
		for tries := 1; tries < 4 && errors.Is(err, docstore.ErrUnavailable); tries++ {
			first, second, err = sweepTwice(ctx, cloud, cfg, jobs.running)
		}
		if err != nil {
			return nil, fmt.Errorf("sweeps with %d jobs: %w", jobs.running, err)
		}
		if *jobs.reads = second.DocReads; *jobs.reads < int64(jobs.running) {
			return nil, fmt.Errorf("a sweep read %d documents of %d running jobs", second.DocReads, jobs.running)
		}
		if jobs.running == 0 {
			out.UpkeepReads = first.DocReads - second.DocReads
		}
		for _, c := range []meter.Counts{first, second} {
			c.DocReads = 0
			out.Other = out.Other.Add(c)
		}
	}
	return out, nil
}

// sweepTwice makes two sweeps of a gateway where so many jobs run: the first
// with an upkeep, the second without.
func sweepTwice(ctx context.Context, cloud *localcloud.Cloud, cfg reconciler.Config, running int) (first, second meter.Counts, err error) {
	project, err := cloud.NewProject(ctx, "no-key-is-needed")
	if err != nil {
		return first, second, err
	}
	var m meter.Meter
	pf, jobs, err := openMetered(ctx, project, "reconciler", &m, time.Now)
	if err != nil {
		return first, second, err
	}
	defer func() { err = errors.Join(err, pf.Close()) }()
	for range running {
		held, err := claim(ctx, jobs)
		if err != nil {
			return first, second, err
		}
		defer held.Abandon(context.Canceled)
	}
	cfg.Upkeep = time.Hour
	repair, err := reconciler.New(cfg, reconciler.Deps{Jobs: jobs, Docs: pf.Docs, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		return first, second, err
	}
	// The first call of a process opens its connection, which takes its time.
	if _, _, err := jobs.DueJobs(ctx, job.DueLease, time.Now(), 1, ""); err != nil {
		return first, second, err
	}
	first = sweep(ctx, repair, &m)
	second = sweep(ctx, repair, &m)
	if first.DocReads <= second.DocReads {
		return first, second, fmt.Errorf("an upkeep was not done: %d reads, and %d without it", first.DocReads, second.DocReads)
	}
	return first, second, nil
}

// claim makes a job that runs, without anybody who works on it.
func claim(ctx context.Context, jobs *job.Store) (*job.Held, error) {
	j, _, err := jobs.Submit(ctx, job.Submission{Tenant: "default", Spec: job.Spec{Prompt: "p"}})
	if err != nil {
		return nil, err
	}
	return jobs.Claim(ctx, j.ID, job.ClaimOptions{Worker: "cost", Lease: time.Hour})
}

// sweepLimit ends a sweep that hangs.
const sweepLimit = 5 * time.Minute

// sweep makes one sweep and returns what it cost.
func sweep(ctx context.Context, repair *reconciler.Service, m *meter.Meter) meter.Counts {
	ctx, cancel := context.WithTimeout(ctx, sweepLimit)
	defer cancel()
	before := m.Counts()
	repair.Sweep(ctx)
	return m.Counts().Sub(before)
}
