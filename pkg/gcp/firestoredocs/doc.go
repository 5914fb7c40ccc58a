// Package firestoredocs is the docstore driver on Firestore (Standard edition,
// Native mode).
//
// A document of the port is a document of Firestore: its declared fields at the
// top level under their own names, its bytes in "data", and two more fields of
// the driver's own, "rev" and "expire_time" (see document.go). Its version is
// Firestore's update time in microseconds.
//
// A commit is one Commit call without a transaction: no read locks, so a hot
// document does not collapse, and every write carries its precondition. The
// driver never repeats a call, nor do the libraries below it: whether a commit
// was applied must not be blurred.
//
// Costs: Get, Ping and a query that finds nothing are one billed read; a query
// is one read for each document it returns; a refused commit of several writes is
// one read for each, to say which write failed. The usual refused commit of one
// write, a claim that another has won, is none.
//
// [Indexes] is what the database must be given for the queries of a schema.
// package gcp opens the driver; nothing else knows it.
package firestoredocs
