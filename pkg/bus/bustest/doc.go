// Package bustest is the suite that every bus.Driver passes: what shared and
// per-instance subscriptions promise, in cases that run the same on the
// embedded bus, on the Pub/Sub emulator and on Pub/Sub.
//
// The suite declares its own topics and subscriptions and hands them to the
// open function, so that each platform chooses timings it can keep; no package
// variable changes for a test. A case that a platform cannot pass is switched
// off by a field of [Features], visibly, by the platform's own test.
package bustest
