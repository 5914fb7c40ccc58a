// Package scale keeps a pool of workers as large as the work at hand.
//
// It guarantees that a pool grows as soon as jobs wait, shrinks only after a
// quiet time, and is never set below the number of workers that run jobs. Which
// instance a platform ends when a pool shrinks is the platform's choice: a
// worker that is ended hands its jobs back, which costs them no attempt.
//
// The reconciler calls [Scaler.Step] after each sweep.
package scale
