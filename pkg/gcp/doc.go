// Package gcp opens the gateway's platform on Google Cloud: Pub/Sub, Firestore,
// Cloud Storage and Secret Manager.
//
// It guarantees that opening makes no network call and leaves nothing open when
// a part of it fails, that a service or resource which is missing shows in
// [platform.Platform.Check] and heals without a restart, and that a process is
// on emulators with everything or with nothing. The mains of the services call
// [Open], `codexgw bootstrap` calls [Bootstrap].
//
// It is the only package, with those below it, that knows Google Cloud.
package gcp
