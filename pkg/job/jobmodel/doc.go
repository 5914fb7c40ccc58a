// Package jobmodel tests pkg/job as a whole against a model of it: random
// sequences of everything that submits, runs, repairs and cancels jobs, in
// several processes at once, with a crash or a lost answer at any commit, with
// another process between any two calls to the store, with messages lost,
// doubled and out of order, and with clocks that differ. It holds tests only.
//
// After every step the promises of the job domain must hold, and once the
// faults stop every accepted job must end. The same machine on a store without
// the log's fence must find a violation: that proves that it can.
//
// docs/model has the same protocol as an exhaustive model with fewer details.
package jobmodel
