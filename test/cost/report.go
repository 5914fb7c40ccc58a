package main

import (
	"context"
	"fmt"
	"time"

	"codexgateway.dev/pkg/gcp/meter"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/wait"
	"codexgateway.dev/test/localcloud"
)

// perJob is what jobs of one profile cost.
type perJob struct {
	Profile string `json:"profile"`
	Jobs    int    `json:"jobs"`
	Events  int    `json:"events"`
	// Total is of all jobs.
	Total meter.Counts `json:"total"`
	// Dollars are of 1,000 jobs, besides compute and the model.
	Dollars float64 `json:"dollars_per_1000"`
}

// idle is what a gateway without work costs.
type idle struct {
	// Reads a month are documents; everything else must be 0.
	Reads   float64 `json:"doc_reads_per_month"`
	Writes  int64   `json:"doc_writes"`
	Bytes   int64   `json:"pubsub_bytes"`
	List    float64 `json:"dollars_per_month_list"`
	Dollars float64 `json:"dollars_per_month"`
	took    time.Duration
}

const (
	month = 30 * 24 * time.Hour
	days  = 30
)

// measureJobs runs jobs of a profile one after the other, and counts until what
// follows an end (the archive, the freed slot) has been done too.
func measureJobs(ctx context.Context, cloud *localcloud.Cloud, model *mockmodel.Running, codex, dir string, p profile, jobs int) (perJob, error) {
	r, err := newRig(ctx, cloud, model, codex, dir, p.faster)
	if err != nil {
		return perJob{}, err
	}
	out := perJob{Profile: p.name, Jobs: jobs}
	err = func() error {
		// The first job of a process opens its connections and subscriptions.
		if _, err := r.run(ctx, "say hello"); err != nil {
			return err
		}
		r.settle(ctx)
		before := r.meter.Counts()
		for range jobs {
			n, err := r.run(ctx, p.prompt())
			if err != nil {
				return err
			}
			out.Events += n
		}
		r.settle(ctx)
		out.Total = r.meter.Counts().Sub(before)
		return nil
	}()
	if ended := r.end(); err == nil {
		err = ended
	}
	out.Dollars = dollars(out.Total) / float64(jobs) * 1000
	return out, err
}

// settle waits until the reconciler, which sweeps faster too, has had its turn.
func (r *rig) settle(ctx context.Context) {
	wait.For(ctx, 3*max(reconcile/time.Duration(r.faster), 100*time.Millisecond))
}

// measureIdle counts what a gateway does for some idle sweeps, and stretches it
// to a month.
func measureIdle(ctx context.Context, cloud *localcloud.Cloud, model *mockmodel.Running, codex, dir string) (idle, error) {
	const faster, sweeps = 120, 40 // an idle sweep every 0.5 s
	r, err := newRig(ctx, cloud, model, codex, dir, faster)
	if err != nil {
		return idle{}, err
	}
	r.settle(ctx)
	before := r.meter.Counts()
	began := time.Now()
	wait.For(ctx, sweeps*reconcileIdle/faster)
	c := r.meter.Counts().Sub(before)
	took := time.Since(began) * faster
	if err := r.end(); err != nil {
		return idle{}, err
	}
	out := idle{took: took, Writes: c.DocWrites + c.DocDeletes, Bytes: c.PublishBytes + c.DeliverBytes}
	out.Reads = float64(c.DocReads) * float64(month) / float64(took)
	out.List = dollars(c) * float64(month) / float64(took)
	out.Dollars = max(0, out.Reads/days-freeDocReads)*days*perDocRead + dollars(c.Sub(meter.Counts{DocReads: c.DocReads}))*float64(month)/float64(took)
	return out, nil
}

// bill is the month that operators ask for: requests at the edge, documents read
// and written, gigabytes stored.
type bill struct {
	Requests, Reads, Writes int64
	GiB                     float64
}

// lines are what the bill comes to, besides Codex's compute; list without the
// free tiers, free with them.
func (b bill) lines() (list, free float64) {
	requests := float64(b.Requests)
	list = requests*perRequest + float64(b.Reads)*perDocRead + float64(b.Writes)*perDocWrite + b.GiB*perBlobGiB + edgeCompute(b.Requests)
	free = max(0, requests-freeRequests)*perRequest + max(0, float64(b.Reads)-freeDocReads*days)*perDocRead +
		max(0, float64(b.Writes)-freeDocWrites*days)*perDocWrite + max(0, b.GiB-5)*perBlobGiB +
		max(0, edgeCompute(b.Requests)-freeEdgeCompute)
	return list, free
}

// The edge's own compute: a request takes it some milliseconds, of which Cloud
// Run bills 100 ms at least of one vCPU and half a GiB, shared by those that run
// beside it; here none do.
const (
	perRequestSeconds = 0.1
	perVCPUSecond     = 0.000024
	perGiBSecond      = 0.0000025
	// freeEdgeCompute is 180,000 vCPU-seconds and as many seconds of half a GiB.
	freeEdgeCompute = 180_000*perVCPUSecond + 180_000*0.5*perGiBSecond
)

func edgeCompute(requests int64) float64 {
	return float64(requests) * perRequestSeconds * (perVCPUSecond + 0.5*perGiBSecond)
}

// month1M is the month of the goal.
var month1M = bill{Requests: 1_000_000, Reads: 100_000, Writes: 50_000, GiB: 10} //nolint:gochecknoglobals // a constant

func (p *perJob) row() string {
	per := func(n int64) float64 { return float64(n) / float64(p.Jobs) }
	return fmt.Sprintf("%-8s %7.1f %7.1f %7.1f %8.1f %8.1f %9.1f %7.1f %7.1f   $%.4f",
		p.Profile, per(int64(p.Events)), per(p.Total.DocReads), per(p.Total.DocWrites), per(p.Total.Published),
		per(p.Total.PublishBytes)/1000, per(p.Total.DeliverBytes)/1000, per(p.Total.BlobWrites), per(p.Total.BlobReads), p.Dollars)
}
