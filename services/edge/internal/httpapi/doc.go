// Package httpapi is the edge's HTTP routes: JSON-RPC, the WebSocket's
// upgrade, a job as codex exec prints it, the event stream of a job in its three
// forms, artifacts and health.
//
// It guarantees that every answer carries a request id; that what is refused is
// refused as JSON-RPC where the client speaks it and as an RFC 9457 problem
// elsewhere; that no client holds a connection by sending or reading too
// slowly; and that a panic costs one request.
//
// The service mounts [Handler] on its listener.
package httpapi
