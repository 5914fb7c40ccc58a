// Package codexversion owns which Codex CLI the gateway works with and where
// it lies on this machine.
//
// The file version beside it is the one place that names the pinned release;
// the Makefile installs exactly it, and the worker's probe refuses any other,
// because the app-server protocol negotiates no version. The worker, its probe
// and codexgw doctor call it.
package codexversion
