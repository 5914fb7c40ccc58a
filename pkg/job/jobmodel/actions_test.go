package jobmodel_test

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"pgregory.net/rapid"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
)

// actions are what a process may do. Each draws what it needs and does nothing
// where there is nothing to do.
var actions = map[string]func(w *world, p *proc){
	"submit":    (*world).submit,
	"resubmit":  (*world).resubmit,
	"deliver":   (*world).deliver,
	"deliver 2": (*world).deliver, // twice as often as others
	"append":    (*world).append,
	"heartbeat": (*world).heartbeat,
	"finish":    (*world).finish,
	"hand back": (*world).handBack,
	"cancel":    (*world).cancel,
	"sweep":     (*world).sweep,
	"seize":     (*world).seize,
}

// pick draws one of a list; ok is false for an empty one.
func pick[T any](w *world, what string, from []T) (v T, ok bool) {
	if len(from) == 0 {
		return v, false
	}
	return from[rapid.IntRange(0, len(from)-1).Draw(w.t, what)], true
}

// fails reports an answer that the model does not allow: one that only a fault
// explains, where there was none.
func (w *world) fails(p *proc, what string, err error) {
	if !p.excused {
		w.violate("%s failed without a fault: %v", what, err)
	}
}

func (w *world) submit(p *proc) {
	w.submitAs(p, job.Submission{
		Tenant:    rapid.SampledFrom([]string{"one", "two", "free"}).Draw(w.t, "tenant"),
		SessionID: rapid.SampledFrom([]string{"", "s1", "s2"}).Draw(w.t, "session"),
		Spec:      job.Spec{Prompt: "p"},
	})
}

// resubmit uses one of few idempotency keys, each always with the same job.
func (w *world) resubmit(p *proc) {
	w.submitAs(p, job.Submission{
		Tenant:    rapid.SampledFrom([]string{"one", "free"}).Draw(w.t, "tenant"),
		SessionID: "s1", IdempotencyKey: rapid.SampledFrom([]string{"k1", "k2"}).Draw(w.t, "key"), Spec: job.Spec{Prompt: "p"},
	})
}

func (w *world) submitAs(p *proc, sub job.Submission) {
	w.run(p, func(ctx context.Context) {
		j, replayed, err := p.jobs.Submit(ctx, sub)
		if err != nil {
			w.fails(p, "submit", err)
			return
		}
		w.model.told[j.ID] = true
		if sub.IdempotencyKey == "" {
			if replayed {
				w.violate("job %s was replayed without a key", j.ID)
			}
			return
		}
		k := sub.Tenant + "/" + sub.IdempotencyKey
		if first := w.model.keys[k]; first != "" && (first != j.ID || !replayed) {
			w.violate("key %s made job %s and job %s (replayed: %v)", k, first, j.ID, replayed)
		}
		w.model.keys[k] = j.ID
	})
}

// deliver brings any message of the bus to a worker; a copy of it may stay.
func (w *world) deliver(p *proc) {
	if len(w.bus) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.bus)-1).Draw(w.t, "message")
	m := w.bus[i]
	if !rapid.Bool().Draw(w.t, "again") {
		w.bus = append(w.bus[:i:i], w.bus[i+1:]...)
	}
	w.claim(p, m.JobID)
}

func (w *world) claim(p *proc, jobID string) {
	w.run(p, func(ctx context.Context) {
		h, err := p.jobs.Claim(ctx, jobID, job.ClaimOptions{
			Worker: p.name, Lease: 15 * time.Second, Grace: 10 * time.Second, DeltaDelay: time.Millisecond,
		})
		j, _ := w.read(jobID)
		switch {
		case err == nil:
			own := h.Job()
			w.held = append(w.held, &handle{Held: h, proc: p, id: jobID, owner: own.Lease.Owner})
			if !p.excused && (j.State != job.Running || j.Lease.Owner != own.Lease.Owner) {
				w.violate("job %s: %s has claimed it, it is %s of %+v", jobID, own.Lease.Owner, j.State, j.Lease)
			}
		case p.excused:
		case errors.Is(err, job.ErrEnded) && j.State.Terminal():
		case errors.Is(err, job.ErrLeased) && j.State == job.Running:
		case errors.Is(err, job.ErrNotAdmitted) && j.State == job.Queued && j.Wait != job.Admitted:
		default:
			w.violate("claim of %s, which is %s (waits for %q): %v", jobID, j.State, j.Wait, err)
		}
	})
}

// holder draws a handle of a process that is not in a call. The process that
// was drawn does not matter: a handle belongs to one.
func (w *world) holder(p *proc) (*handle, bool) { return pick(w, "handle", w.handlesOf(p)) }

func (w *world) append(p *proc) {
	h, ok := w.holder(p)
	if !ok {
		return
	}
	n := rapid.IntRange(1, 3).Draw(w.t, "events")
	w.run(p, func(ctx context.Context) {
		for range n {
			err := h.Log.Append(ctx, eventlog.Entry{
				Type: eventlog.TypeCodex, Time: time.Now(), Data: eventlog.CodexData("item/completed", json.RawMessage(`{}`)),
			})
			if err != nil {
				return // fenced, or sealed by an end that did not land
			}
		}
	})
}

// owns reports whether the handle's claim has the lease.
func (w *world) owns(h *handle) bool {
	j, ok := w.read(h.id)
	return ok && j.Lease != nil && j.Lease.Owner == h.owner
}

// settleHandle checks an answer against who owns the lease, and may drop a
// handle that has lost it; a careless worker goes on with it.
func (w *world) settleHandle(h *handle, what string, owned bool, err error) {
	switch {
	case errors.Is(err, job.ErrLeaseLost):
		if owned && !h.proc.excused && !h.tried && w.owns(h) {
			w.violate("job %s: %s says the lease is lost, and %s has it", h.id, what, h.owner)
		}
		if !w.nested && rapid.Bool().Draw(w.t, "drop") {
			w.drop(h)
		}
	case err != nil:
		w.fails(h.proc, what, err)
		h.tried = true
	case !owned && !h.proc.excused && !h.tried:
		w.violate("job %s: %s of %s succeeded without the lease", h.id, what, h.owner)
	}
}

func (w *world) heartbeat(p *proc) {
	h, ok := w.holder(p)
	if !ok {
		return
	}
	w.run(p, func(ctx context.Context) {
		owned := w.owns(h)
		_, err := h.Heartbeat(ctx, job.Usage{Input: 1})
		w.settleHandle(h, "heartbeat", owned, err)
	})
}

func (w *world) finish(p *proc) {
	if h, ok := w.holder(p); ok {
		w.end(h, rapid.SampledFrom([]job.State{job.Completed, job.Failed, job.Cancelled, job.TimedOut}).Draw(w.t, "state"))
	}
}

func (w *world) end(h *handle, state job.State) {
	r := job.Result{State: state, Content: h.owner}
	if state == job.Failed {
		r.Error = job.NewError(errs.WorkerLost, "")
	}
	w.run(h.proc, func(ctx context.Context) {
		owned := w.owns(h)
		err := h.Finish(ctx, r)
		w.settleHandle(h, "finish", owned, err)
		if err != nil {
			return
		}
		if j, _ := w.read(h.id); !j.State.Terminal() {
			w.violate("job %s: %s has finished it, it is %s", h.id, h.owner, j.State)
		}
		w.drop(h)
	})
}

func (w *world) handBack(p *proc) {
	h, ok := w.holder(p)
	if !ok {
		return
	}
	w.run(p, func(ctx context.Context) {
		owned := w.owns(h)
		err := h.HandBack(ctx, job.Usage{Input: 1})
		w.settleHandle(h, "hand back", owned, err)
		if err == nil {
			w.drop(h)
		}
	})
}

func (w *world) cancel(p *proc) {
	id, ok := pick(w, "job", w.model.order)
	if !ok {
		return
	}
	m := w.model.jobs[id]
	w.run(p, func(ctx context.Context) {
		ended := m.state.Terminal()
		_, err := p.jobs.Cancel(ctx, m.tenant, id, "")
		switch {
		case err == nil && ended:
			w.violate("job %s had ended and was cancelled", id)
		case err != nil && (!ended || errs.CodeOf(err) != errs.Conflict):
			w.fails(p, "cancel", err)
		}
	})
}

// farFuture is after every lease.
const farFuture = 24 * time.Hour

// sweep is one round of a reconciler.
func (w *world) sweep(p *proc) {
	w.run(p, func(ctx context.Context) {
		for _, why := range job.Dues() {
			before := p.jobs.Now()
			if why == job.DueLease {
				before = before.Add(farFuture)
			}
			due, _, err := p.jobs.DueJobs(ctx, why, before, 100, "")
			if err != nil {
				w.fails(p, "due", err)
				return
			}
			for _, j := range due {
				if why == job.DueLease && !p.leases.Dead(j) {
					continue
				}
				if err := p.jobs.Repair(ctx, j); err != nil {
					w.fails(p, "repair", err)
				}
			}
		}
		p.leases.EndRound()
		wishes, _, err := p.jobs.OpenCancels(ctx, 100, "")
		if err != nil {
			w.fails(p, "cancels", err)
		}
		for _, c := range wishes {
			if err := p.jobs.Enforce(ctx, c, p.cancels); err != nil {
				w.fails(p, "enforce", err)
			}
		}
		p.cancels.EndRound()
	})
}

// seize takes a lease that may be alive, as a reconciler does whose clock or
// whose worker's pause misleads it: the fence must hold all the same.
func (w *world) seize(p *proc) {
	w.run(p, func(ctx context.Context) {
		due, _, err := p.jobs.DueJobs(ctx, job.DueLease, p.jobs.Now().Add(farFuture), 100, "")
		if err != nil {
			w.fails(p, "due", err)
			return
		}
		if len(due) == 0 {
			return
		}
		if err := p.jobs.Repair(ctx, due[0]); err != nil {
			w.fails(p, "repair", err)
		}
	})
}
