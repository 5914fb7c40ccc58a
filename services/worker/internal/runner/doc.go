// Package runner owns the run of one claimed job: workspace, conversation,
// turn, watchdogs, result.
//
// It guarantees that a claimed job leaves it in one of four ways: ended with a
// terminal event, handed back, lost to another worker, or still leased for the
// reconciler to find because the store was away. Whatever it started for the
// job is gone when it returns. The worker's intake calls it once per claim.
package runner
