// Package cebinding is the CloudEvents protocol binding for Google Cloud
// Pub/Sub (googleapis/google-cloudevents, docs/spec/pubsub.md, working draft
// 1.0): an event as the data and the attributes of one Pub/Sub message.
//
// It writes binary mode: one attribute "ce-<name>" per event attribute, the
// content type as "content-type", and the data bytes exactly as they are. An
// event that does not fit the limits of Pub/Sub attributes is written in
// structured mode instead, as one JSON document; JSON data is then written anew
// (white space goes, bytes differ), so nobody may sign or hash data on the bus.
//
// It reads both modes, from any writer: attribute keys in any case, the content
// type under either of the two names that the draft uses. What it reads is a
// valid event or an error of this package; extensions are always strings.
//
// Its caller is the bus driver of Pub/Sub, for pull and for push.
package cebinding
