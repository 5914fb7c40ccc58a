// Package meter counts what Google Cloud bills besides compute: documents read,
// written and deleted, bytes through Pub/Sub, operations on Cloud Storage and
// accesses to secrets.
//
// It sees requests where they leave the process, in client interceptors, so it
// counts what the libraries really send, retries included. The cost report and
// its test use it; it changes no request.
package meter
