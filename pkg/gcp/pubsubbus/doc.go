// Package pubsubbus is the bus on Google Cloud Pub/Sub: a bus.Driver whose
// events are messages in the CloudEvents binding (package cebinding).
//
// It guarantees what bus.Driver promises and that nothing which may heal is
// final: a topic, subscription or permission that is missing, or a Pub/Sub that
// does not answer, fails a publish with bus.ErrUnavailable and keeps a receiver
// trying, 1 s doubling to 30 s apart, until it is there; meanwhile Ping says in
// one sentence what is missing and what to do. A per-instance subscription that
// vanished is created again. Open makes no network call.
//
// Publishing is the client library's. Receiving is not: its Subscriber keeps to
// itself that Pub/Sub is unreachable, holds messages that wait for a slot for as
// long as running handlers take (hours), and either leaves unread messages
// behind when it stops or returns before its last answers are sent; each breaks
// a promise of the port. See stream.go and lease.go: one streaming pull, leases
// that are extended while a handler runs, answers in batches.
//
// Where Pub/Sub pushes over HTTP, [Push] is the receiving end; a subscription it
// names is fed by requests instead of a stream, with the same handlers.
//
// The service account of a service needs pubsub.publisher on the topics it
// publishes to, pubsub.subscriber on the subscriptions it reads and
// pubsub.viewer; with per-instance subscriptions or [Driver.Bootstrap] also
// pubsub.editor. Its callers are package gcp, which assembles the platform, and
// `codexgw bootstrap`.
package pubsubbus
