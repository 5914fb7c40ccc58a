// Package conversation owns conversations: the line of jobs that share one
// Codex thread, run one at a time in submit order.
//
// It guarantees that a tenant's session name leads to one conversation, that
// the head of the queue is the only job that may run, and that a finished
// job's thread and workspace are handed to the next one in the same commit
// that ends the job. The job domain calls it; it never commits by itself.
package conversation
