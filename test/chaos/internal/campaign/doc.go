// Package campaign runs a gateway of many processes under load, harms it by a
// schedule, and hands what its clients saw to package check.
//
// It owns the processes, the harm, the load and the collecting; it judges
// nothing. It guarantees that a killed process is started again at once, that
// every try of a submit keeps its key, that it leaves no process behind, and
// that the logs of a failed campaign stay. The program test/chaos and its test
// call it.
package campaign
