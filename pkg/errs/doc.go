// Package errs is the one registry of errors that leave the gateway.
//
// Every code has a JSON-RPC number, an HTTP status, a WebSocket close code or
// none, whether a retry can help, a public sentence and a sentence of help. It
// guarantees that codes are unique and only ever grow: a test compares them
// with a golden list. Domain packages return *[Error]; only the edge and the
// notifier render one, and what is not an *Error is rendered as internal and
// leaks nothing. docs/reference/errors.md is generated from here.
package errs
