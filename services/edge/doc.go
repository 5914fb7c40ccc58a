// Package edge is the service that clients talk to: it accepts jobs, answers
// about them and streams their events over JSON-RPC, WebSocket, SSE, JSON lines
// and long polls.
//
// Hop 1 of a prompt ends here with a stored job, hop 5 begins here with a
// stored event. The edge keeps no state of its own: any number of instances
// serve the same jobs, and a client that loses one resumes on another at the
// seq it has. It guarantees that a stop loses nothing: streams are closed with
// a hint when to come back, and requests in hand are finished within a limit.
//
// Its main and the standalone service build it with [New] and call
// [Service.Run].
package edge
