// Package platform is the four ports of the gateway, opened together: bus,
// documents, blobs and secrets.
//
// A service gets one [Platform] from its main and never learns which it is;
// codexgateway.dev/pkg/embedded opens the one of a laptop, the gcp package the
// one of the cloud. It guarantees that blobs written through [Platform.WriteBlob]
// or [Platform.UploadBlob] survive power loss once a document may refer to
// them, that Close ends the ports in the order that lets work finish, and that
// Check says which of them cannot serve. platformtest tells one story across
// all four.
package platform
