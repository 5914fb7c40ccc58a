// Package admit decides whether a call may go on, in one place for every
// transport: a member of a batch, a frame of a WebSocket and a plain HTTP
// request are asked the same questions in the same order.
//
// It guarantees that every call of a key counts against its rate limit, whatever
// becomes of it; that a key has no more calls in hand on an instance than its
// bound; and that no method or route runs for a principal without its scope. The
// HTTP routes and the WebSocket call it with a context that carries a
// [call.Info]; the methods behind it need not ask again.
package admit
