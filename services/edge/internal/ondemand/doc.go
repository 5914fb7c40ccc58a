// Package ondemand holds a per-instance subscription of the bus while somebody
// needs it: an edge that nobody uses has none, and one that starts serves before
// it has one.
//
// It guarantees that the subscription is opened when it is wanted, opened again
// when it breaks, and given up when nobody has needed it for a while. What is
// published while it is not open is the caller's to find in documents. The hub
// and the keyring listen through it.
package ondemand
