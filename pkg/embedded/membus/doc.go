// Package membus is the bus of the embedded platform: one process, no disk.
//
// It keeps the semantics of the cloud's bus, so that what works here works
// there: shared subscriptions with leases, backoff, dead letters and a
// consumer's MaxOutstanding honoured by the bus; per-instance subscriptions
// that begin and end with their receiver. Nothing survives the process:
// documents are the truth and the reconciler publishes again.
//
// A publish starts the handler in the same instant, without polling; timers
// exist only for backoff and for leases that outlive their bound.
//
// Events are not copied: each delivery has its own attributes, but all share
// the publisher's data bytes, which nobody may change after Publish.
//
// Every queue is bounded:
//
//   - a shared subscription holds 65,536 messages or 256 MiB; then Publish
//     returns bus.ErrFull after delivering to the topic's other subscriptions;
//   - a per-instance subscription holds 1,024 messages or 64 MiB; then the
//     newest is dropped and counted (readers see the gap in the documents);
//   - a dead letter holds 1,024 messages or 64 MiB; then the oldest is dropped
//     and counted, because a dead letter that refuses would make its
//     subscription redeliver poison for ever.
//
// package embedded opens it; bustest proves it.
package membus
