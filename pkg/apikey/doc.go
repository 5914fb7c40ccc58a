// Package apikey owns who may do what: the form of a key, what is stored of it,
// the scopes it carries, and its life from creation over rotation to revocation.
//
// It guarantees that of a key's secret only an HMAC under a pepper is stored,
// and that the key itself is returned once, by the call that made it; that an
// unknown key and a known one with a wrong secret take the same path; that a key
// of another tenant is the same not_found as one that never was; and that a
// revoked key never becomes valid again. A scope has one name everywhere: in
// keys, in the methods and routes that need it, and in the documents generated
// from them.
//
// [Store] is what the edge works with; codexgw up makes the admin key with
// [Make].
package apikey
