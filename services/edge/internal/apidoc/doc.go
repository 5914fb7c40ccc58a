// Package apidoc makes the documents that describe the gateway to its clients:
// OpenRPC for the methods, OpenAPI for the routes, AsyncAPI for what a WebSocket
// or an event stream carries.
//
// They are made from what serves: the tables of methods, the table of routes,
// the Go types both decode and encode. A route cannot be in its table without an
// [Operation], and a document that would leave something out is not made at all.
// The edge's routes serve the documents; rpc.discover answers with one of them.
package apidoc
