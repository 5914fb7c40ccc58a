// Package schedule says what a campaign does to the gateway and when, from a
// seed and a length alone: the same two give the same schedule on every machine,
// so that a run that found something can be made again.
package schedule
