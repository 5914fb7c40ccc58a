// Package jsonrpctest holds transcripts of JSON-RPC 2.0: every example of the
// specification, word for word, and the rules that this gateway adds.
//
// It guarantees that whatever serves frames can be held to the same transcripts:
// the bare table of methods in the tests of package jsonrpc, and an edge over
// HTTP and over a WebSocket in those of the edge.
package jsonrpctest
