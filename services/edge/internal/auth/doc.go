// Package auth decides who a request is from.
//
// It guarantees that a credential is taken from headers only, that a request
// with two different ones is refused, that a key is compared in constant time,
// and that none ever appears in an error or a log. [Authenticator] is what the
// edge's transports ask; [Chain] is one that asks each [Method] in turn, of
// which [AdminKey] is the first.
package auth
