// Package programtest writes the programs that tests put in the place of others,
// such as Codex, so that they can be run at once.
//
// The kernel runs no file that is open for writing anywhere. A child that another
// goroutine starts meanwhile has every open file for a moment, so a test that
// writes a program and runs it fails now and then on a busy machine. Tests of the
// worker, of the command line and of the whole gateway call it.
package programtest
