// Package e2e runs the gateway as its users do: the built binary in a process
// of its own, with the real Codex CLI, over HTTP, WebSocket and the command
// line.
//
// It owns no code but its tests. They guarantee what no module can show by
// itself: that a submitted prompt becomes one dense event log which every
// transport tells alike, that a job ends exactly once whatever is killed, that
// nothing of a job survives it, and that the model key is nowhere it does not
// belong. The scripted fake Codex (test/fakecodex) takes the place of the real
// one only where Codex itself has to misbehave.
//
// The tests need the pinned Codex CLI (make setup) and build the gateway
// themselves, so that they always test the tree they stand in. Data directories
// lie below the user's cache directory, because a gateway refuses to keep its
// data under the temporary one.
package e2e
