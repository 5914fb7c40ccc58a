// Package clienttest is a small gateway for tests of programs that call one:
// it speaks the contract over real HTTP and WebSockets, holds scripted jobs in
// memory, and misbehaves on demand.
//
// It guarantees the contract's shapes, not its semantics: nothing runs and
// nothing is stored. The tests of codexgateway.dev/pkg/client and of the
// command line client call it.
package clienttest
