// Package remote is the ports of a store host in another process:
// docstore.Driver and bus.Driver over its unix socket.
//
// It behaves as the driver of a service over a network does: a call that is cut
// is ErrUnavailable, and whether a cut commit was applied is unknown; a
// subscription whose connection breaks is opened again by itself, and what was
// in its hands is no longer. The nodes of a campaign use it under docstore.New
// and bus.New.
package remote
