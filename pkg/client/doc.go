// Package client is the Go client of the gateway: JSON-RPC calls over POST
// /jsonrpc, watching a job over GET /ws, and downloading what a job left.
//
// It owns the connection, never the meaning: params and results are those of
// codexgateway.dev/pkg/apiv1. It guarantees that every call has a deadline;
// that an error of the gateway comes back as an *[Error] with its registered
// code and "the gateway cannot be reached" as [ErrUnreachable], so that a
// program can tell the two apart; that [Client.Watch] delivers each event once,
// in order, over any number of connections, and reports a gateway that breaks
// its promise of a dense log as a [SequenceError]; and that the key travels in
// the X-API-Key header of requests to the configured URL only: redirects are
// not followed and signed URLs are fetched without it.
//
// The command line client and the end-to-end tests call it.
package client
