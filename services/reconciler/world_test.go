package reconciler_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/embedded/membus"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/services/reconciler"
)

// world is a gateway's documents and bus in memory, for a synctest bubble.
type world struct {
	jobs *job.Store
	docs *docstore.Store
	bus  *bus.Bus
	// sweeps counts looks at leases, which each sweep does once.
	sweeps, blind *atomic.Int64
}

// counted is a driver that counts looks at leases.
type counted struct {
	docstore.Driver

	sweeps atomic.Int64
	// blind is how many of the next answers are empty.
	blind atomic.Int64
}

func (c *counted) Query(ctx context.Context, q docstore.Query) (docstore.Page, error) {
	if q.Index == "by_due" && q.Equal[0] == string(job.DueLease) {
		c.sweeps.Add(1)
	}
	if q.Index == "by_due" && c.blind.Add(-1) >= 0 {
		return docstore.Page{}, nil
	}
	return c.Driver.Query(ctx, q)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	driver := &counted{Driver: memstore.New(schema.All())}
	docs, err := docstore.New(driver, schema.All(), docstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	blobs := memblob.OpenBucket(nil)
	b := bus.New(membus.New(events.Topics, events.Deployed(true), membus.Options{Logger: log}), bus.Options{Logger: log})
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
	})
	jobs, err := job.NewStore(job.Deps{
		Docs: docs, Blobs: blobs, Bus: b, Source: "/codexgw/test", Now: time.Now, Logger: log,
		PutBlob: func(ctx context.Context, name string, data []byte) error { return blobs.WriteAll(ctx, name, data, nil) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return &world{jobs: jobs, docs: docs, bus: b, sweeps: &driver.sweeps, blind: &driver.blind}
}

// build makes a reconciler that is not run.
func (w *world) build(t *testing.T, cfg reconciler.Config, x reconciler.Executions, p reconciler.Pool) *reconciler.Service {
	t.Helper()
	s, err := reconciler.New(cfg, reconciler.Deps{
		Jobs: w.jobs, Docs: w.docs, Bus: w.bus, Executions: x, Pool: p, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs a reconciler for the length of the test.
func run(t *testing.T, s *reconciler.Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (w *world) submit(t *testing.T, timeout time.Duration) *job.Job {
	t.Helper()
	j, _, err := w.jobs.Submit(t.Context(), job.Submission{Tenant: "default", Spec: job.Spec{Prompt: "p", Timeout: timeout}})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func (w *world) claim(t *testing.T, jobID, worker string) *job.Held {
	t.Helper()
	h, err := w.jobs.Claim(t.Context(), jobID, job.ClaimOptions{Worker: worker, Lease: time.Hour, DeltaDelay: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Abandon(context.Canceled) })
	return h
}

// executions remembers which were started.
type executions struct {
	mu      sync.Mutex
	started []string
	at      []time.Time
	err     error
}

func (x *executions) Start(_ context.Context, jobID string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.started, x.at = append(x.started, jobID), append(x.at, time.Now())
	return x.err
}

func (x *executions) set(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.err = err
}

func (x *executions) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.started)
}

// pool is a worker pool.
type pool struct{ size atomic.Int64 }

func (p *pool) Size(context.Context) (int, error) { return int(p.size.Load()), nil }

func (p *pool) Resize(_ context.Context, n int) error {
	p.size.Store(int64(n))
	return nil
}
