// Package socket is the edge's WebSocket: JSON-RPC 2.0 text frames both ways,
// every method of the gateway, and subscriptions to jobs.
//
// It guarantees that the events of a subscription come after the answer that
// names it, in order and without a gap; that one connection cannot have more
// requests in flight, subscriptions or unread bytes than its bounds; and that a
// connection the gateway ends says with its close code whether to come back:
// 4000 to 4499 reconnect and resume, 4500 to 4999 stop. A peer that does not
// read is closed with 4308, or cut when not even that gets through; it never
// holds up anybody else.
//
// The HTTP transport hands it authenticated upgrade requests.
package socket
