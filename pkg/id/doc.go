// Package id owns the opaque ids of the gateway: a kind prefix and 130 random
// bits. It guarantees that ids are unguessable and safe in URLs, file names and
// document keys. Every package that names something new calls it.
package id
