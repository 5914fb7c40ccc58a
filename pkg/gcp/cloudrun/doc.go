// Package cloudrun starts executions of a Cloud Run job and sets the size of a
// worker pool, through the Run Admin API v2.
//
// It guarantees that every call ends within its deadline and fails with one of
// three errors: not there, not possible at the moment, refused. Nothing is
// repeated: whether an execution that was asked for runs is decided by the claim
// of the job's document, and a size that was not set is set at the next sweep.
// The reconciler calls it, through [Job] and [Pool].
package cloudrun
