// Package host is the process of a campaign that has the documents and the bus:
// the embedded platform's own drivers, served over a unix socket to edges,
// workers and reconcilers that are processes of their own.
//
// It may be killed at any moment: documents are as durable as the embedded
// store makes them, the bus forgets everything. Between the drivers and the
// socket it does wrong what it is told to (wire.Faults), by dice that a seed
// decides. It changes no rule of the ports, but for Options.BreakFence.
package host
