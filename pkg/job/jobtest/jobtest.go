package jobtest

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/embedded/sqlitestore"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/schema"
)

// Tenant is the tenant of test jobs.
const Tenant = "default"

// Env is an open job store and the hands on its surroundings.
type Env struct {
	Jobs  *job.Store
	Docs  *docstore.Store
	Blobs *blob.Bucket
	Bus   *Bus
	Clock *Clock
	Fault *Fault
}

// New opens a store in a temporary directory; it closes with the test.
func New(tb testing.TB) *Env {
	tb.Helper()
	file, err := sqlitestore.Open(tb.Context(), filepath.Join(tb.TempDir(), "jobs.db"), schema.All(), sqlitestore.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	env := &Env{
		Bus: &Bus{}, Clock: &Clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		Fault: &Fault{Driver: file}, Blobs: memblob.OpenBucket(nil),
	}
	env.Docs, err = docstore.New(env.Fault, schema.All(), docstore.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := env.Docs.Close(); err != nil {
			tb.Error(err)
		}
		if err := env.Blobs.Close(); err != nil {
			tb.Error(err)
		}
	})
	env.Jobs = env.Store(tb)
	return env
}

// Store opens one more job store on the same documents: another process.
func (e *Env) Store(tb testing.TB) *job.Store {
	tb.Helper()
	s, err := job.NewStore(job.Deps{
		Docs: e.Docs, Blobs: e.Blobs, Bus: e.Bus, Source: "/codexgw/test",
		PutBlob: func(ctx context.Context, name string, data []byte) error {
			return e.Blobs.WriteAll(ctx, name, data, nil)
		},
		Now: e.Clock.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Submit stores a job with a prompt.
func (e *Env) Submit(tb testing.TB, prompt string) *job.Job {
	tb.Helper()
	j, _, err := e.Jobs.Submit(tb.Context(), job.Submission{Tenant: Tenant, Spec: job.Spec{Prompt: prompt}})
	if err != nil {
		tb.Fatal(err)
	}
	return j
}

// Claim claims a job with a lease of 15 s.
func (e *Env) Claim(tb testing.TB, jobID, worker string) *job.Held {
	tb.Helper()
	h, err := e.Jobs.Claim(tb.Context(), jobID, ClaimOptions(worker))
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// ClaimOptions are those of Claim.
func ClaimOptions(worker string) job.ClaimOptions {
	return job.ClaimOptions{Worker: worker, Lease: 15 * time.Second, DeltaDelay: time.Millisecond}
}

// Clock is a clock that stands still until it is moved.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Bus remembers what was published and delivers nothing.
type Bus struct {
	mu   sync.Mutex
	sent []events.Event
}

// Publish implements job.Publisher.
func (b *Bus) Publish(_ context.Context, ev events.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, ev)
	return nil
}

// Types lists the types of what was published about a subject, in order.
func (b *Bus) Types(subject string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var types []string
	for _, ev := range b.sent {
		if ev.Subject() == subject {
			types = append(types, ev.Type())
		}
	}
	return types
}

// Count is how often a type was published about a subject.
func (b *Bus) Count(subject, eventType string) int {
	n := 0
	for _, t := range b.Types(subject) {
		if t == eventType {
			n++
		}
	}
	return n
}

// Fault is a driver whose commits fail on demand.
type Fault struct {
	docstore.Driver

	mu    sync.Mutex
	rules []Rule
}

// Rule is a fault: the next commit that touches Collection fails. With After
// the commit lands and only its answer is lost; else it does not land.
type Rule struct {
	Collection string
	After      bool
	Err        error
}

// Next adds faults for the coming commits.
func (f *Fault) Next(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, rules...)
}

func (f *Fault) match(writes []docstore.Write) *Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, r := range f.rules {
		if slices.ContainsFunc(writes, func(w docstore.Write) bool { return w.Key.Collection == r.Collection }) {
			f.rules = slices.Delete(f.rules, i, i+1)
			return &r
		}
	}
	return nil
}

// Commit implements docstore.Driver.
func (f *Fault) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	r := f.match(writes)
	if r == nil {
		return f.Driver.Commit(ctx, writes)
	}
	if r.After {
		if _, err := f.Driver.Commit(ctx, writes); err != nil {
			return nil, err
		}
	}
	return nil, r.Err
}
