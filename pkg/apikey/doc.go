// Package apikey owns who may do what: the scopes that a key carries.
//
// It guarantees that a scope has one name everywhere: in keys, in the methods
// and routes that need it, and in the documents generated from them. The edge
// asks it.
package apikey
