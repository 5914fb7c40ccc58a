package job_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/job/jobtest"
)

// A commit whose answer is lost may have landed. Wherever that happens, the
// job goes on exactly once.
func TestLostAnswersAreSettledByReading(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{true, false} {
		name := map[bool]string{true: "the commit landed", false: "the commit did not land"}[after]
		lost := jobtest.Rule{Collection: eventlog.Collection, After: after, Err: docstore.ErrUnavailable}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := jobtest.New(t)
			e.Fault.Next(lost)
			j, _, err := e.Jobs.Submit(t.Context(), job.Submission{Tenant: jobtest.Tenant, Spec: job.Spec{Prompt: "p"}})
			if !after {
				if errs.CodeOf(err) != errs.Overloaded {
					t.Fatalf("submit that did not land: %v", err)
				}
				j = e.Submit(t, "p")
			} else if err != nil {
				t.Fatalf("submit that landed: %v", err)
			}

			e.Fault.Next(lost)
			h, err := e.Jobs.Claim(t.Context(), j.ID, jobtest.ClaimOptions("w"))
			if !after {
				if err == nil {
					t.Fatal("claim that did not land succeeded")
				}
				h = e.Claim(t, j.ID, "w")
			} else if err != nil {
				t.Fatalf("claim that landed: %v", err)
			}

			e.Fault.Next(lost)
			if err := h.Log.Append(t.Context(), eventlog.Entry{Type: eventlog.TypeCodex, Time: e.Clock.Now()}); err != nil {
				t.Fatal(err)
			}
			e.Fault.Next(jobtest.Rule{Collection: job.Collection, After: after, Err: docstore.ErrUnavailable})
			if _, err := h.Heartbeat(t.Context(), job.Usage{}); (err == nil) != after {
				t.Errorf("heartbeat: %v", err)
			}
			if _, err := h.Heartbeat(t.Context(), job.Usage{}); err != nil {
				t.Errorf("heartbeat after that: %v", err)
			}
			if err := h.Log.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			e.Fault.Next(lost)
			err = h.Finish(t.Context(), job.Result{State: job.Completed})
			if !after {
				if err == nil {
					t.Fatal("finish that did not land succeeded")
				}
				err = h.Finish(t.Context(), job.Result{State: job.Completed})
			}
			if err != nil {
				t.Fatal(err)
			}
			types, closed := log(t, e, j.ID)
			want := []string{"job.queued", "job.started", "codex", "job.completed"}
			if diff := cmp.Diff(want, types); diff != "" || !closed {
				t.Errorf("closed %v: %s", closed, diff)
			}
		})
	}
}

// settles are the ways in which a claim ends.
func settles() map[string]func(*testing.T, *job.Held) error {
	return map[string]func(*testing.T, *job.Held) error{
		"finish": func(t *testing.T, h *job.Held) error {
			t.Helper()
			return h.Finish(t.Context(), job.Result{State: job.Completed})
		},
		"hand back": func(t *testing.T, h *job.Held) error {
			t.Helper()
			return h.HandBack(t.Context(), job.Usage{})
		},
	}
}

// The commit that ends a claim lands, its answer is lost and so is the look
// whether it landed. The next try comes later, and must tell the watchers of the
// very event that is stored: one with a later time would be another event.
func TestWhatIsToldAfterALostAnswerIsWhatIsStored(t *testing.T) {
	t.Parallel()
	lost := []jobtest.Rule{{Collection: eventlog.Collection, After: true, Err: docstore.ErrUnavailable}}
	for range 4 { // as often as a read is tried
		lost = append(lost, jobtest.Rule{Collection: eventlog.Collection, Read: true, Err: docstore.ErrUnavailable})
	}
	for name, settle := range settles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := jobtest.New(t)
			j := e.Submit(t, "p")
			h := e.Claim(t, j.ID, "w")
			e.Fault.Next(lost...)
			if err := settle(t, h); err == nil {
				t.Fatal("nobody could know that it landed")
			}
			e.Clock.Advance(time.Second)
			if err := settle(t, h); err != nil {
				t.Fatal(err)
			}
			told := map[int64]string{}
			for _, ev := range e.Bus.Sent(events.TypeJobProgressedV1) {
				payload, err := events.Decode(&ev)
				p, ok := payload.(*events.JobProgressed)
				if err != nil || !ok {
					t.Fatal(err)
				}
				for i, raw := range p.Events {
					told[p.FirstSeq+int64(i)] = string(raw)
				}
			}
			page, err := e.Jobs.Log.Read(t.Context(), j.ID, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			for i, raw := range page.Events {
				if got := told[int64(i)+1]; got != string(raw) {
					t.Errorf("told: %s\nstored: %s", got, raw)
				}
			}
		})
	}
}

// A heartbeat that its worker gave up, and could not find when it looked, lands
// after all: the worker still owns the job and must be able to end it.
func TestAHeartbeatThatLandsLateCostsNoLease(t *testing.T) {
	t.Parallel()
	for name, settle := range settles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := jobtest.New(t)
			j := e.Submit(t, "p")
			h := e.Claim(t, j.ID, "w")
			e.Fault.Next(jobtest.Rule{Collection: job.Collection, After: true, Err: docstore.ErrUnavailable})
			for range 4 { // as often as a read is tried
				e.Fault.Next(jobtest.Rule{Collection: job.Collection, Read: true, Err: docstore.ErrUnavailable})
			}
			if _, err := h.Heartbeat(t.Context(), job.Usage{}); err == nil || errors.Is(err, job.ErrLeaseLost) {
				t.Fatalf("heartbeat without an answer: %v", err)
			}
			if err := settle(t, h); err != nil {
				t.Errorf("the lease is still ours: %v", err)
			}
		})
	}
}

// A log of megabytes is packed and stored before the job can end. On a busy
// machine that took longer than the lease, for which no heartbeat came because
// the end kept them back: the job was taken away from a worker that had all but
// ended it, and was run again, three times over.
func TestHeartbeatsGoOnWhileTheResultIsStored(t *testing.T) {
	t.Parallel()
	e := jobtest.New(t)
	j := e.Submit(t, "p")
	storing, goOn := make(chan struct{}, 10), make(chan struct{})
	put := e.Jobs.PutBlob
	e.Jobs.PutBlob = func(ctx context.Context, name string, data []byte) error {
		storing <- struct{}{}
		<-goOn
		return put(ctx, name, data)
	}
	h := e.Claim(t, j.ID, "w")
	finished := make(chan error, 1)
	go func() {
		finished <- h.Finish(t.Context(), job.Result{State: job.Completed, Content: strings.Repeat("x", 1<<20)})
	}()
	select {
	case <-storing:
	case err := <-finished:
		t.Fatalf("nothing was stored: %v", err)
	}
	watch := job.NewLeaseWatch(e.Clock.Now)
	for range 4 {
		stored, err := e.Jobs.Get(t.Context(), jobtest.Tenant, j.ID)
		if err != nil {
			t.Fatal(err)
		}
		if watch.Dead(stored) {
			t.Error("the lease is dead while its holder stores the result")
		}
		if _, err := h.Heartbeat(t.Context(), job.Usage{}); err != nil {
			t.Fatal(err)
		}
		e.Clock.Advance(10 * time.Second)
	}
	close(goOn)
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
	if ended, err := e.Jobs.Get(t.Context(), jobtest.Tenant, j.ID); err != nil || ended.State != job.Completed || ended.Attempt != 1 {
		t.Errorf("%+v, %v; want it completed by its first attempt", ended, err)
	}
	if _, err := h.Heartbeat(t.Context(), job.Usage{}); !errors.Is(err, job.ErrLeaseLost) {
		t.Errorf("a heartbeat after the end: %v", err)
	}
}

// A job that was taken away while its result was being stored does not end.
func TestAJobTakenAwayWhileItsResultIsStoredGoesOn(t *testing.T) {
	t.Parallel()
	for name, beats := range map[string]bool{"a heartbeat found out": true, "nobody found out": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := jobtest.New(t)
			j := e.Submit(t, "p")
			h := e.Claim(t, j.ID, "w")
			put, taken := e.Jobs.PutBlob, sync.OnceFunc(func() { e.Requeue(t, j.ID) })
			e.Jobs.PutBlob = func(ctx context.Context, name string, data []byte) error {
				taken()
				if beats {
					if _, err := h.Heartbeat(ctx, job.Usage{}); !errors.Is(err, job.ErrLeaseLost) {
						t.Errorf("heartbeat: %v, want the lease lost", err)
					}
				}
				return put(ctx, name, data)
			}
			if err := h.Finish(t.Context(), job.Result{State: job.Completed, Content: strings.Repeat("x", 1<<20)}); !errors.Is(err, job.ErrLeaseLost) {
				t.Fatalf("%v, want the lease lost", err)
			}
			if now, err := e.Jobs.Get(t.Context(), jobtest.Tenant, j.ID); err != nil || now.State != job.Queued {
				t.Errorf("%+v, %v; want it queued", now, err)
			}
		})
	}
}
