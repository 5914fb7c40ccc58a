// Package documents holds the gateway's OpenRPC, OpenAPI and AsyncAPI documents
// to the meta-schemas of their specifications, with the validators that the
// specifications' own projects keep on npm.
//
// It guarantees that docs/reference is what other tools can read; that it is
// what the gateway serves is the edge's own test. The validators are pinned by
// package-lock.json and installed once into the user's cache. Where npm is
// missing the test says that it did not run.
package documents
