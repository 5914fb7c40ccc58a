// Package secret is the port to named secrets: latest version, cached, rotated
// without a restart.
//
// It guarantees that a secret is a [Value], which no printer, logger or encoder
// shows. [Secrets] is the concrete type that callers use; it holds the cache,
// deadlines and the rule for a driver that fails: the last value is served for
// a bounded time. The worker's broker and the edge call it; the platforms
// implement [Driver] and pass secrettest.
package secret
