// Package secretversions reads the gateway's secrets from Secret Manager: the
// newest version of each, under its own name.
//
// It guarantees that a payload whose CRC32C does not match is an error and is
// never served, that a secret without an enabled newest version is
// secret.ErrNotFound, and that a call ends after a few seconds whatever the
// service does. secret.Secrets calls it and holds the cache.
package secretversions
