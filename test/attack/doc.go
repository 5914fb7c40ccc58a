// Package attack is the gateway under hostile clients: `make attack`.
//
// The tests start the real edge on the embedded platform as a process of its
// own, under the race detector, and send it requests that are malformed,
// oversized, too slow or against the rules, over plain connections: HTTP and
// WebSocket are written byte by byte, because clients refuse to send most of
// this. Each attack is a row of data with the documented answer, so that the
// tables are what the gateway promises to hostile clients.
//
// After it all the process must be alive, its log without a panic, a race or a
// secret, its memory, goroutines and file descriptors where they were, and a
// well-behaved client must have been served all the time.
package attack
