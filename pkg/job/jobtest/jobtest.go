package jobtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/admission"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/embedded/sqlitestore"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/schema"
)

// Tenant is the tenant of test jobs.
const Tenant = "default"

var errTestOver = errors.New("jobtest: the test is over")

// Grace is what the workers of a test give a turn that is to stop.
const Grace = 10 * time.Second

// Retention is how long the logs of test jobs stay in documents.
const Retention = 24 * time.Hour

// Env is an open job store and the hands on its surroundings.
type Env struct {
	Jobs  *job.Store
	Docs  *docstore.Store
	Blobs *blob.Bucket
	Bus   *Bus
	Clock *Clock
	Fault *Fault

	limit func(tenant string) int
}

// New opens a store in a temporary directory; it closes with the test.
func New(tb testing.TB) *Env {
	tb.Helper()
	return NewLimited(tb, nil)
}

// NewLimited is New with limits of tenants.
func NewLimited(tb testing.TB, limit func(tenant string) int) *Env {
	tb.Helper()
	file, err := sqlitestore.Open(tb.Context(), filepath.Join(tb.TempDir(), "jobs.db"), schema.All(), sqlitestore.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	env := &Env{
		Bus: &Bus{}, Clock: &Clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		Fault: &Fault{Driver: file}, Blobs: memblob.OpenBucket(nil), limit: limit,
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
		Now: e.Clock.Now, Logger: slog.New(slog.DiscardHandler), Limit: e.limit, LogRetention: Retention,
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

// Claim claims a job with a lease of 15 s. What the test does not end is
// abandoned with it.
func (e *Env) Claim(tb testing.TB, jobID, worker string) *job.Held {
	tb.Helper()
	h, err := e.Jobs.Claim(tb.Context(), jobID, ClaimOptions(worker))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { h.Abandon(errTestOver) })
	return h
}

// Requeue takes a job from its holder as the reconciler does once it knows that
// the lease is dead.
func (e *Env) Requeue(tb testing.TB, jobID string) {
	tb.Helper()
	due, _, err := e.Jobs.DueJobs(tb.Context(), job.DueLease, e.Clock.Now().Add(time.Hour), 100, "")
	if err != nil {
		tb.Fatal(err)
	}
	for _, j := range due {
		if j.ID != jobID {
			continue
		}
		if err := e.Jobs.Repair(tb.Context(), j); err != nil {
			tb.Fatal(err)
		}
		return
	}
	tb.Fatalf("job %s has no lease", jobID)
}

// Park makes an admitted job wait for a slot and frees the one it holds, as if
// the process that was about to admit it had died before its commit.
func (e *Env) Park(tb testing.TB, jobID string) {
	tb.Helper()
	doc, err := e.Docs.Get(tb.Context(), docstore.Key{Collection: job.Collection, ID: jobID})
	if err != nil {
		tb.Fatal(err)
	}
	var j map[string]any
	if err := json.Unmarshal(doc.Data, &j); err != nil {
		tb.Fatal(err)
	}
	tenant, n := j["tenant"], j["slot"]
	j["wait"], j["due_for"] = string(job.WaitSlot), string(job.DueAdmit)
	delete(j, "slot")
	data, err := json.Marshal(j)
	if err != nil {
		tb.Fatal(err)
	}
	doc.Fields["wait"], doc.Fields["wait_order"], doc.Fields["due_for"] = string(job.WaitSlot), int64(1), string(job.DueAdmit)
	slots, err := e.Docs.Query(tb.Context(), docstore.Query{Collection: admission.Collection, Index: "by_tenant", Equal: []any{tenant}})
	if err != nil {
		tb.Fatal(err)
	}
	writes := []docstore.Write{{Op: docstore.Replace, Key: doc.Key, Version: doc.Version, Fields: doc.Fields, Data: data}}
	for i := range slots.Docs {
		if s := &slots.Docs[i]; fmt.Sprint(s.Fields["n"]) == fmt.Sprint(n) {
			writes = append(writes, docstore.Write{Op: docstore.Delete, Key: s.Key, Version: s.Version})
		}
	}
	if _, err := e.Docs.Commit(tb.Context(), writes); err != nil {
		tb.Fatal(err)
	}
}

// ClaimOptions are those of Claim.
func ClaimOptions(worker string) job.ClaimOptions {
	return job.ClaimOptions{Worker: worker, Lease: 15 * time.Second, Grace: Grace, DeltaDelay: time.Millisecond}
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

// Sent lists what was published of a type, in order.
func (b *Bus) Sent(eventType string) []events.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	var sent []events.Event
	for _, ev := range b.sent {
		if ev.Type() == eventType {
			sent = append(sent, ev)
		}
	}
	return sent
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

// Fault is a driver whose commits and reads fail on demand.
type Fault struct {
	docstore.Driver

	mu    sync.Mutex
	rules []Rule
}

// Rule is a fault: the next commit that touches Collection fails. With After
// the commit lands and only its answer is lost; else it does not land. Without
// an Err it lands as it is. Before runs first: something else that happens at
// this very moment.
type Rule struct {
	Collection string
	// Read makes it a fault of the next Get instead.
	Read   bool
	Before func()
	After  bool
	Err    error
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
		if !r.Read && slices.ContainsFunc(writes, func(w docstore.Write) bool { return w.Key.Collection == r.Collection }) {
			f.rules = slices.Delete(f.rules, i, i+1)
			return &r
		}
	}
	return nil
}

// Get implements docstore.Driver.
func (f *Fault) Get(ctx context.Context, key docstore.Key) (docstore.Doc, error) {
	f.mu.Lock()
	i := slices.IndexFunc(f.rules, func(r Rule) bool { return r.Read && r.Collection == key.Collection })
	if i < 0 {
		f.mu.Unlock()
		return f.Driver.Get(ctx, key)
	}
	err := f.rules[i].Err
	f.rules = slices.Delete(f.rules, i, i+1)
	f.mu.Unlock()
	return docstore.Doc{}, err
}

// Commit implements docstore.Driver.
func (f *Fault) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	r := f.match(writes)
	if r != nil && r.Before != nil {
		r.Before()
	}
	if r == nil || r.Err == nil {
		return f.Driver.Commit(ctx, writes)
	}
	if r.After {
		if _, err := f.Driver.Commit(ctx, writes); err != nil {
			return nil, err
		}
	}
	return nil, r.Err
}
