// Package events is the contract between the services: the CloudEvents they
// exchange, the topics that carry them and the subscriptions that read them.
//
// It owns names and shapes only. It guarantees that a published type is never
// renamed, renumbered or narrowed: a change is additive, a break is a new type
// with the next major suffix published alongside the old one. Readers ignore
// fields they do not know, so services may be deployed in any order.
//
// Everything else about an event is generated from [Registry]: the JSON
// Schemas under schemas/, the golden events under testdata/golden and the
// reference in docs. The bus port in codexgateway.dev/pkg/bus carries these
// events; the job domain in codexgateway.dev/pkg/job builds most of them.
package events
