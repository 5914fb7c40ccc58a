// Package pool owns the slots of a worker: a directory tree, a jailed and
// initialised Codex process, and a model session, all of one job.
//
// It keeps a few slots warm, so that a job finds a process that is already
// started: a slot costs about 12 MB of private memory and saves the start of
// Codex (65 to 160 ms measured). It guarantees that a slot serves one job and
// is then destroyed whole: its processes, its files, its token. The worker
// takes one slot for each job it runs.
package pool
