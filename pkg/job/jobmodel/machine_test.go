package jobmodel_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func fenced(d docstore.Driver) docstore.Driver { return d }

// TestJobsKeepTheirPromises: -rapid.checks and -rapid.steps make it longer.
func TestJobsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		if broken := machine(t, fenced, false); broken != "" {
			t.Fatal(string(broken))
		}
	})
}

// Where no process dies and no commit fails, the reconciler is not needed for
// any job to get a slot, whatever races with what.
func TestNoJobWaitsBesideAFreeSlot(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		if broken := machine(t, fenced, true); broken != "" {
			t.Fatal(string(broken))
		}
	})
}

// A test that cannot fail proves nothing: without the fence this one does.
func TestAStoreWithoutTheFenceIsFoundOut(t *testing.T) {
	t.Parallel()
	var found violation
	rapid.Check(t, func(t *rapid.T) {
		if found == "" {
			found = machine(t, func(d docstore.Driver) docstore.Driver { return unfenced{d} }, false)
		}
	})
	if found == "" {
		t.Fatal("no violation found although batches of the log are overwritten")
	}
	t.Logf("found: %s", found)
}

// machine runs one random history and returns the promise it broke, if any.
func machine(t *rapid.T, wrap func(docstore.Driver) docstore.Driver, calm bool) (broken violation) {
	rapid.SyncTest(t, func(t *rapid.T) {
		w := newWorld(t, wrap)
		w.calm = calm
		defer w.close()
		defer func() {
			switch v := recover().(type) {
			case nil:
			case violation:
				broken = v
			default:
				panic(v)
			}
		}()
		steps := map[string]func(*rapid.T){"advance": func(*rapid.T) { w.advance() }}
		for _, name := range actionNames() {
			steps[name] = func(*rapid.T) { w.act(name) }
		}
		if !calm {
			steps["crash"] = func(*rapid.T) { w.crash() }
			steps["lose"] = func(*rapid.T) { w.lose() }
			steps["land late"] = func(*rapid.T) { w.landLate() }
		} else {
			delete(steps, "sweep")
		}
		t.Repeat(steps)
		w.settle()
	})
	return broken
}

func actionNames() []string { return slices.Sorted(maps.Keys(actions)) }

// act lets a process that is in no call do something, with a fault at one of
// its commits and another process's act between two of its calls.
func (w *world) act(name string) {
	var idle []*proc
	for _, p := range w.procs {
		if !p.active {
			idle = append(idle, p)
		}
	}
	p, ok := pick(w, "process", idle)
	if !ok {
		return
	}
	if !w.calm {
		f := rapid.SampledFrom([]fault{faultless, faultless, faultless, notLanded, answerLost, landsLate, goneBefore, goneAfter}).Draw(w.t, "fault")
		if f != faultless {
			p.drv.arm(f, rapid.IntRange(0, 2).Draw(w.t, "commit"))
			p.excused = true
		}
	}
	p.step = &step{}
	if at := rapid.IntRange(0, 16).Draw(w.t, "interlude"); !w.nested && at > 0 {
		p.excused = true
		p.step.at = at
		p.step.interlude = func() {
			w.nested = true
			defer func() { w.nested = false }()
			w.act(rapid.SampledFrom(actionNames()).Draw(w.t, "meanwhile"))
		}
	}
	actions[name](w, p)
	p.drv.arm("", 0)
	p.step, p.excused = &step{}, false
}

func (w *world) advance() {
	w.pass(rapid.SampledFrom([]time.Duration{time.Second, 6 * time.Second, 16 * time.Second, 70 * time.Second}).Draw(w.t, "time"))
}

func (w *world) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
	w.check()
}

func (w *world) crash() {
	if p, ok := pick(w, "process", w.procs); ok {
		w.reap(p)
		w.check()
	}
}

// lose drops a message.
func (w *world) lose() {
	if len(w.bus) > 0 {
		i := rapid.IntRange(0, len(w.bus)-1).Draw(w.t, "message")
		w.bus = append(w.bus[:i:i], w.bus[i+1:]...)
	}
}

// landLate lets a commit reach the store long after its caller gave it up.
func (w *world) landLate() {
	if len(w.late) == 0 {
		return
	}
	writes := w.late[0]
	w.late = w.late[1:]
	if _, err := w.commit(context.Background(), writes); err == nil {
		synctest.Wait()
	}
	w.check()
}

// rounds bounds how long it may take until all is quiet: nudges are at most
// five minutes apart.
const rounds = 100

// settle lets all faults end and every job with them.
func (w *world) settle() {
	for len(w.late) > 0 {
		w.landLate()
	}
	for range rounds {
		for _, h := range slices.Clone(w.held) {
			w.end(h, job.Completed)
		}
		for len(w.bus) > 0 {
			m := w.bus[0]
			w.bus = w.bus[1:]
			w.claim(w.procs[0], m.JobID)
		}
		if w.quiet() {
			w.after()
			return
		}
		w.pass(time.Minute)
		w.sweep(w.procs[1])
	}
	for _, m := range w.model.jobs {
		if !m.state.Terminal() {
			j, _ := w.read(m.id)
			w.violate("job %s never ended: %s, waits for %q, due for %q at %v, now %v", m.id, j.State, j.Wait, j.DueFor, j.DueAt, time.Now())
		}
	}
	w.check()
}

func (w *world) quiet() bool {
	for _, m := range w.model.jobs {
		if !m.state.Terminal() {
			return false
		}
	}
	return true
}

// after checks what ended jobs leave.
func (w *world) after() {
	for _, m := range w.model.jobs {
		if m.terminal != 1 {
			w.violate("job %s has %d terminal events", m.id, m.terminal)
		}
		doc, err := w.docs.Get(context.Background(), docstore.Key{Collection: conversation.Collection, ID: m.conversation})
		var c conversation.Conversation
		if err != nil || json.Unmarshal(doc.Data, &c) != nil || len(c.Queue) != 0 {
			w.violate("conversation %s still has %v (%v)", m.conversation, c.Queue, err)
		}
	}
	w.check()
}
