package job

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"codexgateway.dev/pkg/admission"
	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/wait"
)

// Wait is why a queued job may not be claimed yet.
type Wait string

// The waits.
const (
	// Admitted: the job is announced and may be claimed.
	Admitted Wait = ""
	// WaitTurn: an earlier job of the conversation has not ended.
	WaitTurn Wait = "turn"
	// WaitSlot: the tenant has as many jobs admitted as it may.
	WaitSlot Wait = "slot"
)

// priorityShift puts priorities above creation times, which in microseconds
// need 51 bits until the year 2041 and 52 until 2112.
const priorityShift = 52

// order is the job's place among those of its tenant that wait for a slot:
// higher priorities first, then in submit order.
func (j *Job) order() int64 { return int64(-j.Priority)<<priorityShift + j.CreatedAt.UnixMicro() }

// admit lets the job be claimed; slot 0 is for tenants without a limit.
func (j *Job) admit(slot int, due time.Time) {
	j.Wait, j.Slot, j.Nudges = Admitted, slot, 0
	j.due(DueClaim, due)
}

// park lets the job wait. Nobody need look at one that waits for its turn: the
// commit that ends the job before it also moves it on.
func (j *Job) park(why Wait, due time.Time) {
	j.Wait, j.Slot = why, 0
	j.due("", time.Time{})
	if why == WaitSlot {
		j.due(DueAdmit, due)
	}
}

// fullFor is how long a tenant that had no free slot is not looked at again by
// submits; who frees a slot knows who waits, so this delays nobody.
const fullFor = time.Second

// markFull remembers that a tenant has no free slot, or that it has.
func (s *Store) markFull(tenant string, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const most = 10_000
	if len(s.full) > most {
		clear(s.full) // only a hint
	}
	if full {
		s.full[tenant] = time.Now()
	} else {
		delete(s.full, tenant)
	}
}

func (s *Store) isFull(tenant string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, ok := s.full[tenant]
	return ok && time.Since(since) < fullFor
}

// seat admits a new job at the head of its conversation, or lets it wait. The
// first try takes any slot without looking; after a conflict it looks. A job
// that waits must be looked at again once it is stored, see admitWaiting: a
// slot may have come free between the look and the commit.
func (s *Store) seat(ctx context.Context, j *Job, first bool) ([]docstore.Write, error) {
	due := s.Now().Add(s.ClaimDelay)
	limit := s.Limit(j.Tenant)
	switch {
	case limit <= 0:
		j.admit(0, due)
		return nil, nil
	case s.isFull(j.Tenant):
		j.park(WaitSlot, due)
		return nil, nil
	}
	slot := admission.Guess(j.Tenant, j.ID, limit)
	if !first {
		found, ok, err := s.slots.Find(ctx, j.Tenant, j.ID, limit)
		if err != nil {
			return nil, err
		}
		if !ok {
			s.markFull(j.Tenant, true)
			j.park(WaitSlot, due)
			return nil, nil
		}
		slot = found
	}
	j.admit(slot.N, due)
	w, err := slot.Take()
	return []docstore.Write{w}, err
}

// nextWaiting is the job of a tenant that gets the next free slot; nil: none
// waits.
func (s *Store) nextWaiting(ctx context.Context, tenant string) (*Job, error) {
	page, err := s.Docs.Query(ctx, docstore.Query{
		Collection: Collection, Index: "by_wait", Equal: []any{tenant, string(WaitSlot)}, Limit: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("job: next waiting: %w", err)
	}
	if len(page.Docs) == 0 {
		return nil, nil //nolint:nilnil // nobody waits is an answer
	}
	return decode(&page.Docs[0])
}

// admitTries bounds the races of those who admit a tenant's jobs at the same
// moment. Whoever gives up leaves the rest to the reconciler.
const admitTries = 40

// admitWaiting gives a tenant's free slots to its waiting jobs, as long as
// there are both.
func (s *Store) admitWaiting(ctx context.Context, tenant string) error {
	for try := 0; try < admitTries; {
		j, err := s.nextWaiting(ctx, tenant)
		if err != nil || j == nil {
			return err
		}
		writes, ok, err := s.admitOne(ctx, j)
		if err != nil || !ok {
			return err
		}
		_, err = s.Docs.Commit(ctx, writes)
		switch {
		case err == nil:
			s.announceJob(ctx, j)
		case errors.Is(err, docstore.ErrConflict):
			// Somebody admitted or cancelled it, or took the slot: look again.
			try++
			if !wait.For(ctx, rand.N(time.Duration(try+1)*time.Millisecond)) {
				return context.Cause(ctx)
			}
		default:
			return fmt.Errorf("job: admit %s: %w", j.ID, err)
		}
	}
	return nil
}

// admitOne prepares the commit that admits a waiting job; ok is false when the
// tenant has no free slot.
func (s *Store) admitOne(ctx context.Context, j *Job) (writes []docstore.Write, ok bool, err error) {
	due := s.Now().Add(s.ClaimDelay)
	if limit := s.Limit(j.Tenant); limit > 0 {
		slot, ok, err := s.slots.Find(ctx, j.Tenant, j.ID, limit)
		if err != nil || !ok {
			return nil, false, err
		}
		w, err := slot.Take()
		if err != nil {
			return nil, false, err
		}
		writes = append(writes, w)
		j.admit(slot.N, due)
	} else {
		j.admit(0, due)
	}
	s.markFull(j.Tenant, false)
	w, err := j.save()
	return append(writes, w), true, err
}

// succession is what the end of a job does to others, in the same commit: its
// slot goes to the tenant's next waiting job, and the next job of its
// conversation has its turn. Where a slot is freed or a job has to wait for one,
// look makes sure that no job waits beside a free slot: whoever frees a slot
// looks for jobs afterwards, whoever stores a job that waits looks for slots.
type succession struct {
	writes []docstore.Write
	// admitted are the jobs to announce once the commit has landed.
	admitted []*Job
	// look is set when a job waits or the slot went to nobody: somebody has to
	// look for jobs and slots after the commit.
	look bool
}

// succeed works out the succession of a job that ends. conv is its conversation
// already without it.
func (s *Store) succeed(ctx context.Context, j *Job, conv *conversation.Conversation) (*succession, error) {
	turn, err := s.nextTurn(ctx, j, conv)
	if err != nil {
		return nil, err
	}
	out := &succession{}
	heir, err := s.passSlot(ctx, j, turn, out)
	if err != nil {
		return nil, err
	}
	due := s.Now().Add(s.ClaimDelay)
	switch {
	case turn == nil || turn == heir:
	case s.Limit(j.Tenant) <= 0:
		turn.admit(0, due)
		out.admitted = append(out.admitted, turn)
	default:
		turn.park(WaitSlot, due)
		out.look = true
		w, err := turn.save()
		if err != nil {
			return nil, err
		}
		out.writes = append(out.writes, w)
	}
	for _, next := range out.admitted {
		w, err := next.save()
		if err != nil {
			return nil, err
		}
		out.writes = append(out.writes, w)
	}
	return out, nil
}

// nextTurn is the job whose turn in its conversation has come; nil if there is
// none. A job that ends while it waits for its own turn gives nobody a turn.
func (s *Store) nextTurn(ctx context.Context, j *Job, conv *conversation.Conversation) (*Job, error) {
	if conv.Head() == "" || j.Wait == WaitTurn {
		return nil, nil //nolint:nilnil // nobody is an answer
	}
	turn, err := s.read(ctx, conv.Head())
	if err != nil {
		return nil, err
	}
	if turn.State != Queued || turn.Wait != WaitTurn {
		return nil, nil //nolint:nilnil // it has had its turn already
	}
	return turn, nil
}

// passSlot hands the slot of a job that ends to the job that is next in order,
// turn among them, and frees it when nobody waits.
func (s *Store) passSlot(ctx context.Context, j, turn *Job, out *succession) (heir *Job, err error) {
	if j.Slot == 0 {
		return nil, nil //nolint:nilnil // nothing to inherit
	}
	slot, err := s.slots.Held(ctx, j.Tenant, j.ID, j.Slot)
	if err != nil || slot == nil {
		return nil, err
	}
	waiting, err := s.nextWaiting(ctx, j.Tenant)
	if err != nil {
		return nil, err
	}
	heir = waiting
	if turn != nil && (heir == nil || turn.order() < heir.order()) {
		heir = turn
	}
	if heir == nil || slot.N > s.Limit(j.Tenant) { // the limit was lowered meanwhile
		out.writes = append(out.writes, slot.Release())
		// Nobody waited when this looked. A submit that found no slot free may
		// have stored its job since, and looked again before the slot is freed.
		out.look = true
		return nil, nil //nolint:nilnil // nobody inherits
	}
	w, err := slot.Pass(heir.ID)
	if err != nil {
		return nil, err
	}
	heir.admit(slot.N, s.Now().Add(s.ClaimDelay))
	out.writes = append(out.writes, w)
	out.admitted = append(out.admitted, heir)
	return heir, nil
}
