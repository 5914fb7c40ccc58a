// Package watch is a client of the gateway that trusts nothing of it: watchers
// that follow a job over every transport, leave at random, come back to any edge
// and write down what they were told, in the order they were told it.
//
// It imports nothing of the gateway, so that a mistake in the gateway's own
// client or types cannot hide itself. A campaign starts the watchers and package
// check judges their records.
package watch
