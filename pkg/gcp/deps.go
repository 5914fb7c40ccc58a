package gcp

import (
	_ "cloud.google.com/go/firestore/apiv1"
	_ "cloud.google.com/go/pubsub/v2"
	_ "cloud.google.com/go/secretmanager/apiv1"
	_ "cloud.google.com/go/storage"
	_ "github.com/coreos/go-oidc/v3/oidc"
	_ "github.com/fsouza/fake-gcs-server/fakestorage"
	_ "gocloud.dev/blob/gcsblob"
	_ "google.golang.org/api/run/v2"
)
