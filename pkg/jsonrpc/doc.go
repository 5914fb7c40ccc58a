// Package jsonrpc is JSON-RPC 2.0 (https://www.jsonrpc.org/specification)
// without a transport: one HTTP body or one WebSocket frame goes in, at most
// one comes out.
//
// It owns reading frames ([Decode]), reading named params into Go types
// ([Params]), dispatching to registered methods ([Mux]), rendering the errors of
// codexgateway.dev/pkg/errs ([Render]) and the client's half ([EncodeCall],
// [DecodeMessages]). It guarantees that every call gets exactly one answer, in
// the order of its batch, with a result or an error and never both; that a
// notification gets none; that a panic in a method becomes an internal error;
// and that what is not a registered error tells the client nothing.
//
// The edge serves frames with it; the command line client and the tests speak
// the client's half.
package jsonrpc
