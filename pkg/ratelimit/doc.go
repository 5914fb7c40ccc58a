// Package ratelimit owns how many calls a key may make in a minute, on all
// instances of the edge together.
//
// It guarantees that in no window of 60 s, wherever it begins, more calls of a
// key are admitted than its limit, whatever instances crash, whatever answers
// of the store are lost, while no clock is more than [MaxSkew] from the time or
// runs more than half a percent too fast or too slow. It errs on the other side: a
// call may be refused that a perfect counter would have let through.
//
// One document for each key, a [ledger], says what was used and what is held. An
// instance leases tokens from it with a compare-and-set and decides from memory
// while it has some; a token it does not use goes back when the lease is renewed,
// idle or over. A key that is over its limit is refused from memory, without a
// look at the store, until tokens are due.
//
// # Why it holds
//
// A token is counted in the ledger from the commit that leases it. It stays
// counted as held for the life of the lease and a window after it, or until
// its holder writes down when it was used, and from then on for a window after
// that. A commit that leases leaves no more than the limit counted. Take any
// window and, of the commits that leased what was used in it, the last. Every
// other token of the window was leased before it, and was used less than a window
// before it or later; so that commit counted it. Hence all of them together are no
// more than the limit.
//
// No clock is compared with another one where it matters. What the ledger says
// of time is an age: at the commit, at least so long ago. A reader adds what has
// passed on its own clock since it read that, and keeps the better of that and
// what it knew before: a lower bound, whoever's clock is wrong. Clocks are
// compared only to let go of what is older by more than twice MaxSkew, so that an
// instance that has never seen a key does not take what is long over for new.
//
// A crash costs what the instance held, for a lease and a window. An answer that
// was lost is treated as a lease that is held and not used: the next exchange
// reads the ledger, finds it or does not, and gives it back.
//
// The edge's gate calls it for every call; the reconciler removes ledgers that
// are over.
package ratelimit
