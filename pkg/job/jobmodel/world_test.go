package jobmodel_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing/synctest"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"pgregory.net/rapid"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/schema"
)

// limits of the tenants; 0 is none.
var limits = map[string]int{"one": 1, "two": 2, "free": 0}

// violation is a promise that was broken.
type violation string

// world is the documents, the bus and the processes on them. It runs in a
// synctest bubble, whose clock is the clock of the world.
type world struct {
	t     *rapid.T
	ctx   context.Context // of an observer whom no deadline ends
	docs  docstore.Driver
	blobs *blob.Bucket
	bus   []events.JobSubmitted
	late  [][]docstore.Write // commits under way that nobody waits for
	procs []*proc
	held  []*handle
	log   *eventlog.Store // of a reader to whom nothing happens
	model model

	commits sync.Mutex // makes a commit and the model's step one: a log's writer has its own goroutine
	mu      sync.Mutex // guards bus, late, broken and the drivers' faults
	broken  violation
	// nested is set while a step runs within another one's call.
	nested bool
	// calm lets nothing fail: then no job may wait beside a free slot.
	calm bool
}

// proc is a process: worker, edge and reconciler in one.
type proc struct {
	name    string
	skew    time.Duration
	drv     *driver
	jobs    *job.Store
	leases  *job.LeaseWatch
	cancels *job.CancelWatch
	step    *step
	active  bool // a call is under way
	// excused is set while the call may fail: something happens to it.
	excused bool
}

// handle is what a worker believes to hold.
type handle struct {
	*job.Held
	proc  *proc
	id    string
	owner string
	// tried is set when a call failed whose commit may land after all. The same
	// end again then succeeds without the lease; an end after such a heartbeat
	// finds a newer document and gives the lease up.
	tried bool
}

func newWorld(t *rapid.T, wrap func(docstore.Driver) docstore.Driver) *world {
	w := &world{t: t, ctx: context.Background(), docs: wrap(memstore.New(schema.All())), blobs: memblob.OpenBucket(nil), model: newModel()}
	for i, skew := range []time.Duration{0, 25 * time.Second, -25 * time.Second} {
		p := &proc{name: fmt.Sprint("p", i), skew: skew, step: &step{}}
		w.procs = append(w.procs, p)
		w.boot(p)
	}
	reader, err := docstore.New(w.docs, schema.All(), docstore.Options{})
	if err == nil {
		w.log, err = eventlog.NewStore(reader, w.blobs, w.putBlob)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) putBlob(ctx context.Context, name string, data []byte) error {
	return w.blobs.WriteAll(ctx, name, data, nil)
}

// Publish implements job.Publisher. What is not about a new job is for watchers
// only, and a cancel is found at the next heartbeat.
func (w *world) Publish(_ context.Context, ev events.Event) error {
	payload, err := events.Decode(&ev)
	if err != nil {
		return err
	}
	if m, ok := payload.(*events.JobSubmitted); ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.bus = append(w.bus, *m)
	}
	return nil
}

// boot starts a process anew: it remembers nothing.
func (w *world) boot(p *proc) {
	now := func() time.Time { return time.Now().Add(p.skew) }
	p.drv = &driver{Driver: w.docs, w: w}
	var err error
	if p.jobs, err = w.open(p.drv, p.name, now); err != nil {
		w.t.Fatal(err)
	}
	p.leases, p.cancels = job.NewLeaseWatch(now), job.NewCancelWatch(now)
}

// open returns a job store on a way to the documents.
func (w *world) open(d docstore.Driver, name string, now func() time.Time) (*job.Store, error) {
	docs, err := docstore.New(d, schema.All(), docstore.Options{})
	if err != nil {
		return nil, err
	}
	return job.NewStore(job.Deps{
		Docs: docs, Blobs: w.blobs, PutBlob: w.putBlob, Bus: w, Source: "/codexgw/" + name, Now: now,
		Logger: slog.New(slog.DiscardHandler), Limit: func(tenant string) int { return limits[tenant] },
	})
}

// run is one call of a process into the domain, with what was planned for it.
func (w *world) run(p *proc, call func(ctx context.Context)) {
	p.active = true
	// A call that retries for ever against a store that is away ends by this.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s := p.step
	call(context.WithValue(ctx, stepKey{}, s))
	s.over.Store(true)
	synctest.Wait() // the writers of logs come to rest
	p.active = false
	if p.drv.dead.Load() {
		w.reap(p)
	}
	p.drv.arm("", 0)
	p.step, p.excused = &step{}, false
	w.check()
}

// reap is the end of a process that is gone, and the start of its next life.
func (w *world) reap(p *proc) {
	p.drv.dead.Store(true)
	for _, h := range w.handlesOf(p) {
		w.drop(h)
	}
	w.boot(p)
}

func (w *world) handlesOf(p *proc) []*handle {
	var own []*handle
	for _, h := range w.held {
		if h.proc == p {
			own = append(own, h)
		}
	}
	return own
}

// drop forgets a handle.
func (w *world) drop(h *handle) {
	h.Abandon(errGone)
	for i := range w.held {
		if w.held[i] == h {
			w.held = append(w.held[:i:i], w.held[i+1:]...)
			return
		}
	}
}

func (w *world) close() {
	for len(w.held) > 0 {
		w.drop(w.held[0])
	}
}

// violate reports a broken promise; the step that notices it ends the run.
func (w *world) violate(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken == "" {
		w.broken = violation(fmt.Sprintf(format, args...))
	}
}

// check ends the run when a promise is broken.
func (w *world) check() {
	if !w.nested {
		w.invariants()
	}
	if id := w.starving(); w.calm && !w.nested && id != "" {
		w.violate("job %s waits beside a free slot", id)
	}
	w.mu.Lock()
	broken := w.broken
	w.mu.Unlock()
	if broken != "" {
		panic(broken)
	}
}

// read is a job's document as it is stored.
func (w *world) read(jobID string) (j job.Job, ok bool) {
	doc, err := w.docs.Get(w.ctx, docstore.Key{Collection: job.Collection, ID: jobID})
	if err != nil || json.Unmarshal(doc.Data, &j) != nil {
		return j, false
	}
	return j, true
}
