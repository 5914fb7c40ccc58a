// Package ticket owns the tickets with which a browser opens a stream: it cannot
// send headers with a WebSocket, and a page should not hold a key.
//
// A ticket works once, within [Life], and for what the key that made it may do or
// less. It guarantees that of any number of instances that are shown the same
// ticket one at most takes it, and that the store holds only its hash: who reads
// the store can open nothing. The edge issues and redeems tickets, the reconciler
// removes those that nobody used.
package ticket
