package job

import (
	"time"

	"codexgateway.dev/pkg/docstore"
)

// maxSkew bounds how far the clocks of two services may be apart. A lease that
// ran out longer ago than this is dead by any clock.
const maxSkew = time.Minute

// LeaseWatch decides which leases are dead without comparing the clock that
// wrote a lease with another one: a lease is dead when its document has not
// changed for the whole length of the lease, as one watcher has seen it on its
// own clock. A worker's clock that is half a minute slow would otherwise cost
// it every job, and a holder stops by itself before its lease can be seen to
// be dead. A new watcher waits a whole lease before it calls one dead, but for
// those that ran out longer ago than clocks can differ.
//
// It is used by one goroutine.
type LeaseWatch struct {
	now   func() time.Time
	seen  map[string]sighting
	round int
}

// sighting is when a lease was first seen as it is.
type sighting struct {
	version docstore.Version
	since   time.Time
	round   int
}

// NewLeaseWatch returns a watch on a clock.
func NewLeaseWatch(now func() time.Time) *LeaseWatch {
	return &LeaseWatch{now: now, seen: map[string]sighting{}}
}

// Dead looks at a job as it was just read and reports whether its lease is dead.
func (w *LeaseWatch) Dead(j *Job) bool {
	if j.Lease == nil {
		return false
	}
	now := w.now()
	s, ok := w.seen[j.ID]
	if !ok || s.version != j.version {
		s = sighting{version: j.version, since: now}
	}
	s.round = w.round
	w.seen[j.ID] = s
	return now.Sub(s.since) >= j.Lease.Length || now.Sub(j.Lease.ExpiresAt) > maxSkew
}

// EndRound forgets the leases that were not looked at since the last call: it
// is called when all leases there are have been looked at.
func (w *LeaseWatch) EndRound() {
	for id, s := range w.seen {
		if s.round != w.round {
			delete(w.seen, id)
		}
	}
	w.round++
}
