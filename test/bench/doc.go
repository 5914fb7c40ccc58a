// Command bench measures the gateway on this machine and prints one JSON line a
// figure: what a short job costs beside a plain codex exec, how soon a submit is
// acknowledged, how soon a stored event is seen, and what an idle gateway takes.
//
// It owns how a figure is measured, not whether it is good enough: a timing
// never fails, "ok" says whether the target holds, and the exit code is 0
// whenever it could measure. It guarantees that what is compared is measured
// side by side in one run, that it uses the loopback interface only, that it
// ends within a limit, and that it stops what it started and nothing else.
//
// make bench runs it; docs/benchmarks.md says what each figure means and holds
// the last recorded run.
package main
