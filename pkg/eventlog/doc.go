// Package eventlog owns the event log of a job: dense sequence numbers from 1,
// never reused, never reordered, closed for ever by the job's terminal event.
//
// A batch of events is one document keyed by its first seq and written with
// create-if-absent. That rule is also the fence: a writer that lost its lease
// finds its next key taken, gets [ErrFenced] and must stop. A batch is stored
// before anybody is told of it, so nothing is shown that is not stored.
//
// The job domain writes through it; every transport of the edge reads through
// it; the reconciler and the worker archive it.
package eventlog
