package job

import (
	"time"

	"codexgateway.dev/pkg/docstore"
)

// sightings tell how long documents have stood still, as one watcher has seen
// them on its own clock. It is used by one goroutine.
type sightings struct {
	now   func() time.Time
	seen  map[string]sighting
	round int
}

// sighting is when a document was first seen as it is.
type sighting struct {
	version docstore.Version
	since   time.Time
	round   int
}

// still looks at a document as it was just read.
func (w *sightings) still(id string, v docstore.Version) time.Duration {
	now := w.now()
	s, ok := w.seen[id]
	if !ok || s.version != v {
		s = sighting{version: v, since: now}
	}
	s.round = w.round
	w.seen[id] = s
	return now.Sub(s.since)
}

// EndRound forgets what was not looked at since the last call: it is called
// when everything there is has been looked at.
func (w *sightings) EndRound() {
	for id, s := range w.seen {
		if s.round != w.round {
			delete(w.seen, id)
		}
	}
	w.round++
}

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
type LeaseWatch struct{ sightings }

// NewLeaseWatch returns a watch on a clock.
func NewLeaseWatch(now func() time.Time) *LeaseWatch {
	return &LeaseWatch{sightings{now: now, seen: map[string]sighting{}}}
}

// Dead looks at a job as it was just read and reports whether its lease is dead.
func (w *LeaseWatch) Dead(j *Job) bool {
	if j.Lease == nil {
		return false
	}
	return w.still(j.ID, j.version) >= j.Lease.Length || w.now().Sub(j.Lease.ExpiresAt) > maxSkew
}

// CancelWatch knows how long cancels have been waiting for the holders of their
// jobs. It is used by one goroutine.
type CancelWatch struct{ sightings }

// NewCancelWatch returns a watch on a clock.
func NewCancelWatch(now func() time.Time) *CancelWatch {
	return &CancelWatch{sightings{now: now, seen: map[string]sighting{}}}
}
