// Package probe finds out, before a worker takes its first job, whether a job
// can run here safely.
//
// It tries the real thing: it starts Codex in the jail, runs a command in
// Codex's sandbox and looks whether what must be forbidden is. A sandbox that
// does not work shows no error in a job: its turns complete and every command
// in them fails. So a worker refuses jobs when a check fails, unless its
// operator said otherwise; codexgw doctor prints the same results with what to
// do. Every check has its own deadline and none changes anything.
package probe
