// Package memstore is a docstore driver in memory, for tests only: it keeps
// nothing beyond its process and knows no disk that could fail.
//
// It passes the port's conformance suite, so a test on it sees the behaviour
// of every platform, at microseconds a commit. The model tests of the domain
// run tens of thousands of commits on it; no binary imports it.
package memstore
