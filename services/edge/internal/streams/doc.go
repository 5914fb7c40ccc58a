// Package streams knows what an instance keeps open for its clients: WebSockets,
// event streams and long polls, and whose credential each of them lives on.
//
// It guarantees that there are never more than the bound, that a stop can wait
// for the last one, that clients that are sent away are told to come back at
// different moments, and that no stream outlives its credential: it ends when
// the credential expires, and when whoever knows says that its key is no longer
// valid.
//
// The HTTP routes take a place for each stream, the service waits for them, the
// keyring ends those of a key.
package streams
