// Package issuers lets identities in that others vouch for: a token of an OpenID
// Connect issuer that the operator trusts, such as that of a GitHub Actions run
// or of a Google service account, is a credential without a stored key.
//
// It guarantees that a token counts only with a signature by a current key of its
// issuer, made for exactly the audience of a rule, in its time, and with the
// claims that the rule requires; that an issuer is asked for its keys within
// bounds, however many tokens come; and that one that is away is no verdict: its
// tokens are answered "try again", and no other credential waits for it.
//
// The edge's chain of credentials asks it.
package issuers
