// Package keyring is what an edge instance knows of tenants' keys: which it has
// seen and may let in without asking the store again.
//
// It guarantees that a key in use costs one read in half a minute, however many
// requests show it and however many of them come at once; that keys nobody knows
// cannot drive out those that are in use; that a key is never good past its
// expiry; and that a revocation is obeyed at once where it was made, within a
// moment where its event is heard, and within half a minute in any case. It ends
// the streams that live on a key as well.
//
// The edge's chain of authentication asks it, the key methods tell it of what
// they change, and the service runs it.
package keyring
