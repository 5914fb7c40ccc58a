// Package freeport finds TCP ports on the loopback interface for servers that
// start later, in tests and measurements.
//
// A port it gives is nobody's and stays so until it is used: it lies below the
// range from which the kernel serves listeners on port 0, no process gives one
// twice, and processes that run beside each other begin far apart. To listen on
// port 0, close, and let somebody else listen there is a race that a busy
// machine loses.
//
// Tests, pkg/gcp/gcptest, and the programs of test call it.
package freeport
