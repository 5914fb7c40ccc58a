// Package bus is the port to messages: CloudEvents, at least once, unordered.
//
// The bus is a hint, documents are the truth: a lost, doubled or reordered
// message is repaired by the reader or the reconciler, and nothing may depend
// on the bus remembering anything. Topics and subscriptions are declared in
// codexgateway.dev/events; shared subscriptions have one winner per message,
// per-instance subscriptions are heard by everyone and end with the instance.
//
// [Bus] is the concrete type that services use; it holds encoding, validation,
// deadlines, dead-lettering of rejected messages, spans and metrics once.
// [Driver] is what a platform implements; bustest is the suite it must pass.
package bus
