// Package sqlitestore is the document store of the embedded platform: one SQLite
// file, without cgo.
//
// It guarantees what [docstore.Driver] asks, and that a commit which returned
// nil survives kill -9 and power loss (WAL with synchronous=FULL). One goroutine
// writes: all commits that wait go into one SQLite transaction and share its
// fsync, each under a savepoint of its own, so that a failed precondition takes
// back one commit and not its neighbours. Reads go through a few read-only
// connections and never wait for the writer.
//
// A collection is a table "doc_<collection>" (id, version, one column "f_<field>"
// for each declared field, data); a declared index is an SQLite index over its
// Equal fields, its Order field and the id. Opening a file with a larger schema
// adds what is missing. The embedded platform opens it and nobody else.
package sqlitestore
