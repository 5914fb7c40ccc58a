// Package docstore is the port to documents: the truth of the gateway.
//
// It promises three calls, and the same behaviour of them on every platform:
// Get, Query over declared indexes, and Commit, which applies all its writes or
// none, each under a precondition. There are no interactive transactions:
// optimistic writes are portable and do not collapse on a hot document
// (measured on the Firestore emulator: 2 transactions/s with 8 writers against
// 200 to 430 compare-and-sets/s).
//
// [Store] is the concrete type that the domain packages use; it holds
// validation, retries of reads, deadlines, spans and metrics once. [Driver] is
// what a platform implements; docstoretest is the suite it must pass.
package docstore
