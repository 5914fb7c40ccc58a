// Package gcsblobs is the gateway's bucket on Cloud Storage: gocloud's gcsblob
// with what it leaves open.
//
// It guarantees that a write is whole or not there, also when its answer was
// lost: every upload carries a generation precondition, so that the library may
// repeat it, and an identity, so that a repeated upload which finds itself
// already stored succeeds. A blob that somebody else wrote meanwhile is never
// replaced: the write fails with gcerrors.FailedPrecondition. Each request ends
// when nothing has moved for a while, each retry after a few attempts. Links
// are V4 signed URLs that a browser saves and never shows, signed by the IAM
// Credentials API, by a key, or, for an emulator, by a key nobody knows.
//
// Package gcp opens it; everyone else sees a *blob.Bucket.
package gcsblobs
