// Package check judges a campaign by what its clients saw and what the gateway's
// API said at the end, and by nothing else: every accepted job ended once, every
// watcher was told the whole log once and in order, and all of them the same.
//
// It imports nothing of the gateway: it must not share a mistake with what it
// judges. A campaign fills Input and prints the Report; the package's own tests
// break each rule and see that exactly that is reported.
package check
