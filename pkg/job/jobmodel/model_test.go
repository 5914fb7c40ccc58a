package jobmodel_test

import (
	"context"
	"encoding/json"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
)

// model is what must be true of the documents, kept in plain maps and moved on
// by the commits that land.
type model struct {
	jobs  map[string]*modelJob
	order []string          // ids, in the order in which they were stored
	keys  map[string]string // tenant and idempotency key → job, as clients were told
	told  map[string]bool   // jobs whose clients have an answer
}

// modelJob is a job as its commits have made it.
type modelJob struct {
	id, tenant, conversation string
	state                    job.State
	attempt                  int
	owner                    string // of the lease; empty: nobody
	terminal                 int    // terminal events that clients have read
	seq                      int64  // events that clients have read
	logAttempt               int    // of the last of them
}

func newModel() model {
	return model{jobs: map[string]*modelJob{}, keys: map[string]string{}, told: map[string]bool{}}
}

// commit applies writes to the shared documents and checks the step from what
// was there to what is. Its lock makes both one.
func (w *world) commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	w.commits.Lock()
	defer w.commits.Unlock()
	versions, err := w.docs.Commit(ctx, writes)
	if err != nil {
		return nil, err
	}
	touched := map[string]bool{}
	for i := range writes {
		if writes[i].Key.Collection == job.Collection {
			touched[writes[i].Key.ID] = true
			w.moved(writes[i].Key.ID, writes[i].Data)
		}
	}
	for i := range writes {
		if writes[i].Key.Collection == eventlog.Collection {
			w.appended(&writes[i], touched)
		}
	}
	return versions, nil
}

// moved checks a write of a job document against the one before.
func (w *world) moved(id string, data []byte) {
	var next job.Job
	if err := json.Unmarshal(data, &next); err != nil {
		w.violate("job %s: %v", id, err)
		return
	}
	m := w.model.jobs[id]
	if m == nil {
		m = &modelJob{id: id, tenant: next.Tenant, conversation: next.ConversationID, state: job.Queued}
		w.model.jobs[id] = m
		w.model.order = append(w.model.order, id)
	}
	owner := ""
	if next.Lease != nil {
		owner = next.Lease.Owner
	}
	switch {
	case m.state.Terminal() && m.state != next.State:
		w.violate("job %s was %s and is %s", id, m.state, next.State)
	case m.state != next.State && !m.state.CanBecome(next.State):
		w.violate("job %s: %s to %s", id, m.state, next.State)
	case next.Attempt < m.attempt:
		w.violate("job %s: attempt %d after %d", id, next.Attempt, m.attempt)
	case next.Attempt > job.MaxAttempts:
		w.violate("job %s: attempt %d", id, next.Attempt)
	case m.owner != "" && owner != "" && owner != m.owner:
		w.violate("job %s: owner %s took the lease of %s", id, owner, m.owner)
	}
	if m.state == job.Queued && next.State == job.Running {
		for _, before := range w.earlier(m) {
			w.violate("job %s started before %s of its conversation ended", id, before)
		}
	}
	m.state, m.attempt, m.owner = next.State, next.Attempt, owner
}

// earlier lists the jobs of m's conversation that were stored before it and
// have not ended.
func (w *world) earlier(m *modelJob) []string {
	var ids []string
	for _, id := range w.model.order {
		o := w.model.jobs[id]
		if o == m {
			return ids
		}
		if o.conversation == m.conversation && !o.state.Terminal() {
			ids = append(ids, id)
		}
	}
	return ids
}

// appended checks a batch that was stored without its job: only the owner of
// the lease may do that.
func (w *world) appended(write *docstore.Write, touched map[string]bool) {
	var b eventlog.Batch
	if err := json.Unmarshal(write.Data, &b); err != nil {
		w.violate("batch %s: %v", write.Key.ID, err)
		return
	}
	m := w.model.jobs[b.JobID]
	switch {
	case m == nil:
		w.violate("job %s has a log and no document", b.JobID)
	case touched[b.JobID]:
	case m.owner != b.Writer:
		w.violate("job %s: %s wrote seq %d while %q had the lease", b.JobID, b.Writer, b.FirstSeq, m.owner)
	}
}

// event is an event as clients read it.
type event struct {
	JobID   string    `json:"job_id"`
	Seq     int64     `json:"seq"`
	Attempt int       `json:"attempt"`
	Time    time.Time `json:"time"`
	Type    string    `json:"type"`
}

// follow reads what is new in a job's log, as a client would.
func (w *world) follow(m *modelJob) {
	for {
		page, err := w.log.Read(context.Background(), m.id, m.seq, 0)
		if err != nil {
			w.violate("job %s: read after %d: %v", m.id, m.seq, err)
			return
		}
		for _, raw := range page.Events {
			w.observe(m, raw)
		}
		if !page.More {
			if page.Closed != m.state.Terminal() {
				w.violate("job %s is %s, its log closed: %v", m.id, m.state, page.Closed)
			}
			return
		}
	}
}

func (w *world) observe(m *modelJob, raw json.RawMessage) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		w.violate("job %s: event after %d: %v", m.id, m.seq, err)
		return
	}
	switch {
	case e.Seq != m.seq+1 || e.JobID != m.id:
		w.violate("job %s: event %d of %s after %d", m.id, e.Seq, e.JobID, m.seq)
	case m.terminal > 0:
		w.violate("job %s: %s after the terminal event", m.id, e.Type)
	case e.Attempt < m.logAttempt:
		w.violate("job %s: event of attempt %d after %d", m.id, e.Attempt, m.logAttempt)
	case eventlog.Terminal(e.Type) && e.Type != "job."+string(m.state):
		w.violate("job %s is %s, its log says %s", m.id, m.state, e.Type)
	}
	m.seq, m.logAttempt = e.Seq, e.Attempt
	if eventlog.Terminal(e.Type) {
		m.terminal++
	}
}
