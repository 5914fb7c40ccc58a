// Package hub is the one reader of job logs for every transport of the edge.
//
// It guarantees that a [Watcher] sees every event after the seq it names once,
// in order, and then learns that the log is closed, whatever the bus loses,
// doubles or reorders: live batches are a hint, the log is the truth.
//
// All watchers of a job share one feed. A feed registers for live batches
// first, keeps the newest events in a ring bounded in bytes and knows how far
// the log reaches. A watcher is only a cursor: it is served from the ring, or
// by one read of the log that all watchers at the same position share, or it
// waits. So a slow watcher costs no queue, and nobody waits for it; one that was
// live and stays behind the ring is ended with [ErrSlow]. A position check at
// intervals finds what the bus lost without a trace.
//
// The subscription is opened for the first feed and given up when there has
// been none for a while. While it is not open, feeds are checked every second,
// and all of them once when it is.
//
// The edge's WebSocket, SSE, JSON lines and long-poll routes and the wait of
// conversation.prompt read through it.
package hub
