// Package job owns jobs: their state machine, their lease and the rule that an
// accepted job ends exactly once.
//
// A job is a document. Every change of state is one commit of that document
// under its version together with the batch of the event log that tells of it,
// so state and log can never disagree. Claim and heartbeat are
// compare-and-sets; the log's next key is the fence against a worker that
// lost its lease and does not know. Messages on the bus only hurry things:
// whatever they lose, the reconciler finds in the documents.
//
// The edge submits, reads and cancels; the worker claims, holds and finishes;
// the reconciler repairs. None of them writes a job document on its own.
package job
