package hub

import (
	"encoding/json"
	"slices"
)

// ring holds a run of consecutive events, the newest of a job as a rule. What
// it hands out is never changed afterwards: watchers read it without the lock.
type ring struct {
	first  int64 // seq of events[0]
	events []json.RawMessage
	bytes  int
	max    int
}

// last is the seq of the newest event; meaningless while the ring is empty.
func (r *ring) last() int64 { return r.first + int64(len(r.events)) - 1 }

// from returns the events from seq on; nil if the ring does not have seq.
func (r *ring) from(seq int64) []json.RawMessage {
	if len(r.events) == 0 || seq < r.first || seq > r.last() {
		return nil
	}
	return slices.Clip(r.events[seq-r.first:])
}

// add takes events that begin with first. What adjoins the ring extends it in
// either direction; what lies beyond a gap replaces it, because newer events
// are wanted more often; what is older and does not adjoin is ignored.
func (r *ring) add(first int64, events []json.RawMessage) {
	if len(events) == 0 {
		return
	}
	last := first + int64(len(events)) - 1
	switch {
	case len(r.events) == 0 || first > r.last()+1:
		r.first, r.events, r.bytes = first, slices.Clip(events), size(events)
	case last < r.first-1:
		return
	default:
		if last > r.last() {
			more := events[r.last()+1-first:]
			r.events = append(r.events, more...)
			r.bytes += size(more)
		}
		if first < r.first {
			r.prepend(events[:r.first-first])
		}
	}
	r.trim()
}

// prepend adds the newest of older events, as many as fit.
func (r *ring) prepend(older []json.RawMessage) {
	n := len(older)
	for n > 0 && r.bytes+len(older[n-1]) <= r.max {
		n--
		r.bytes += len(older[n])
	}
	fit := older[n:]
	r.events = slices.Concat(fit, r.events)
	r.first -= int64(len(fit))
}

// trim drops the oldest events once the ring is over its bound, down to three
// quarters of it, so that the copying is paid once in many batches. The newest
// event stays however large it is: all watchers want it now.
func (r *ring) trim() {
	if r.bytes <= r.max {
		return
	}
	n := 0
	for n < len(r.events)-1 && r.bytes > r.max/4*3 {
		r.bytes -= len(r.events[n])
		n++
	}
	r.events = slices.Clone(r.events[n:]) // a copy: the dropped events must not stay in memory
	r.first += int64(n)
}

func size(events []json.RawMessage) int {
	n := 0
	for _, e := range events {
		n += len(e)
	}
	return n
}
