package jobmodel_test

import (
	"context"
	"encoding/json"

	"codexgateway.dev/pkg/admission"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/job"
)

// invariants is what must hold between any two steps.
func (w *world) invariants() {
	running := map[string]string{}
	admitted := map[string]map[int]string{}
	for _, id := range w.model.order {
		m := w.model.jobs[id]
		w.follow(m)
		j, ok := w.read(id)
		if !ok {
			w.violate("job %s is gone", id)
			continue
		}
		if j.State == job.Running || j.State == job.Waiting {
			if other := running[m.conversation]; other != "" {
				w.violate("jobs %s and %s of one conversation run", other, id)
			}
			running[m.conversation] = id
		}
		if limits[m.tenant] > 0 && !j.State.Terminal() && j.Wait == job.Admitted {
			if admitted[m.tenant] == nil {
				admitted[m.tenant] = map[int]string{}
			}
			if other := admitted[m.tenant][j.Slot]; other != "" {
				w.violate("jobs %s and %s have slot %d", other, id, j.Slot)
			}
			admitted[m.tenant][j.Slot] = id
		}
	}
	for tenant, limit := range limits {
		if n := len(admitted[tenant]); n > limit {
			w.violate("tenant %s has %d jobs admitted", tenant, n)
		}
		w.slots(tenant, admitted[tenant])
	}
	for id := range w.model.told {
		if w.model.jobs[id] == nil {
			w.violate("job %s was accepted and is not stored", id)
		}
	}
}

// slots checks that the taken slots are those of the admitted jobs.
func (w *world) slots(tenant string, admitted map[int]string) {
	page, err := w.docs.Query(context.Background(), docstore.Query{
		Collection: admission.Collection, Index: "by_tenant", Equal: []any{tenant}, Limit: docstore.MaxPage,
	})
	if err != nil {
		w.violate("slots of %s: %v", tenant, err)
		return
	}
	for i := range page.Docs {
		var slot admission.Slot
		if err := json.Unmarshal(page.Docs[i].Data, &slot); err != nil || admitted[slot.N] != slot.Job {
			w.violate("slot %d of %s is held by %s, admitted is %q (%v)", slot.N, tenant, slot.Job, admitted[slot.N], err)
		}
	}
	if len(page.Docs) != len(admitted) {
		w.violate("tenant %s: %d slots taken by %d jobs", tenant, len(page.Docs), len(admitted))
	}
}

// starving names a job that waits for a slot beside a free one; empty: none
// does. A crash may leave one to the reconciler.
func (w *world) starving() string {
	taken, waits := map[string]int{}, map[string]string{}
	for _, id := range w.model.order {
		j, ok := w.read(id)
		if !ok || j.State.Terminal() {
			continue
		}
		switch j.Wait {
		case job.Admitted:
			taken[j.Tenant]++
		case job.WaitSlot:
			waits[j.Tenant] = id
		case job.WaitTurn:
		}
	}
	for tenant, id := range waits {
		if taken[tenant] < limits[tenant] {
			return id
		}
	}
	return ""
}
