// Package attempts bounds how often one client address may fail to authenticate.
//
// It guarantees that an address that shows wrong credentials is refused after a
// few of them without a look at what it shows, so that guessing costs the
// gateway no look-ups; that a credential which was good lately on this instance
// passes all the same, so that others behind the same address are not locked out
// by it; and that what it remembers is bounded. It is of one instance: each
// counts for itself.
//
// The HTTP routes ask it around each authentication.
package attempts
