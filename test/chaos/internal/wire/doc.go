// Package wire is what the processes of a campaign say to the store host: the
// ports docstore.Driver and bus.Driver as HTTP calls with gob bodies over a unix
// socket.
//
// It owns the paths, the messages and how an error of a port crosses the socket
// and stays the same error for errors.Is and errors.As. Package host serves it,
// package remote calls it; nothing else does, and it is no contract: both ends
// are always one build.
package wire
