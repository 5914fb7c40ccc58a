// Package embedded is the platform of one machine: one directory, one process,
// nothing to install.
//
//	DIR/lock          held while a gateway uses the directory
//	DIR/gateway.db    documents: SQLite (package sqlitestore)
//	DIR/blobs/        artifacts: one file each, served at /blobs by signed URL
//	DIR/blob-url.key  signs those URLs
//	DIR/secrets/      one file per secret (package envsecret)
//
// Messages are in memory only (package membus): documents are the truth, and
// the reconciler publishes again what a crash forgot. It guarantees that no two
// gateways use one directory. The services' mains open it when
// CODEXGW_PLATFORM is embedded; platformtest proves it.
package embedded
