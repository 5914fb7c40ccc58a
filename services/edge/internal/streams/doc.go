// Package streams counts what an instance keeps open for its clients:
// WebSockets, event streams and long polls.
//
// It guarantees that there are never more than the bound, that a stop can wait
// for the last one, and that clients that are sent away are told to come back at
// different moments.
//
// The HTTP routes take a place for each stream, the service waits for them.
package streams
