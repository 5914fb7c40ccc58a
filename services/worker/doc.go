// Package worker is the service that runs jobs: it hears of a job, claims it,
// runs the real Codex CLI on it in a jail, and writes every event of it into
// the job's log.
//
// It guarantees that the model's key stays in the worker's broker, that
// nothing of a job outlives it, and that a job it cannot finish goes back or is
// found by the reconciler.
package worker
