// Package broker is the model proxy between Codex and the real model.
//
// Codex gets the URL of a loopback server and a token that is worth nothing
// outside it; the broker holds the real key, adds it to each upstream request,
// retries what Codex would not, counts tokens and can be shut for one job at
// once. The worker runs one [Broker], opens a [Session] per app-server process
// (before the job is known, for the warm pool), binds it to the job and closes
// it when the process is gone.
//
// Guarantees:
//   - The model key is sent to the configured base URL and nowhere else: never
//     to Codex, into a log or along a redirect. Error bodies of the model are
//     cleaned of it, its 401 is replaced as a whole.
//   - Only POST /v1/responses passes, with the headers on the lists in
//     headers.go; inbound credentials, cookies and x-codex-turn-metadata (host
//     paths, commit hashes) do not.
//   - Bytes of a stream are written and flushed as they arrive. Nothing is
//     repeated after the first byte was passed on: a stream that breaks is cut,
//     which Codex answers with its own stream retry.
//   - Everything is bounded: body, buffered bodies, requests in flight,
//     attempts, waits, silence of either side, the length of a counted line.
//
// # Retries
//
// 429, 500, 502, 503, 504 and 529, failures to connect and missing headers are
// tried again with full jitter, or after Retry-After. 429 of type
// usage_limit_reached or insufficient_quota, certificate errors and a
// Retry-After beyond the remaining budget are not. The budget belongs to a run
// of failures of the session, and a success refills it: when it is spent, the
// last answer goes to Codex without Retry-After, and if Codex asks again each
// request is one attempt. With request_max_retries = 0 and stream_max_retries =
// S a model that only fails thus sees at most MaxAttempts + S requests per turn.
// Codex does not time out while it waits for headers, so the waits do not show.
package broker
