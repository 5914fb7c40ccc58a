// Package auth decides who a request is from.
//
// It guarantees that a key is compared in constant time, is taken from headers
// only, and never appears in an error or a log. [Authenticator] is what the
// edge's transports ask; [AdminKey] is the one key of an installation without
// tenant keys.
package auth
