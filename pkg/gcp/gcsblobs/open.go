package gcsblobs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cloud.google.com/go/auth"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"google.golang.org/api/option"

	"codexgateway.dev/pkg/secret"
)

// Config of [Open]. Bucket is required, and Credentials unless there is an Emulator.
type Config struct {
	// Bucket is the name of a bucket that exists or will.
	Bucket string
	// Emulator is host:port of a Cloud Storage emulator, with or without
	// "http://"; empty: the real service.
	Emulator string
	// LinkHost is the host:port that links lead to; empty: that of the emulator.
	// Without an emulator links always lead to the real service.
	LinkHost string
	// Credentials of the requests; asked for a token at the first one.
	Credentials *auth.Credentials
	// SignerEmail is the service account whose name links are signed in; empty:
	// the one this instance runs as, from the metadata server.
	SignerEmail string
	// SignerKey is a service-account key file (JSON). Set, links are signed with
	// it; empty: by the IAM Credentials API, which needs
	// iam.serviceAccounts.signBlob on the account.
	SignerKey secret.Value
	// SignerEndpoint replaces https://iamcredentials.googleapis.com/.
	SignerEndpoint string
	// Options are added to those of the storage client.
	Options []option.ClientOption
	// Wrap is put around the transport, so that every request is seen; nil: nothing.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Now is the clock that links expire by; nil: time.Now.
	Now func() time.Time
	// Stall is how long a request may go without a byte moving. 0: 30 s.
	Stall time.Duration
}

// Limits of what is not a setting.
const (
	// callTimeout bounds a call that transfers no content, with all its retries.
	callTimeout = 30 * time.Second
	// attempts bound the library's retries, which would otherwise last as long
	// as the caller's context: for ever where a caller has no deadline.
	attempts = 4
	// chunkSize is the buffer of an upload. The library's own 16 MiB would be
	// allocated for every small blob.
	chunkSize = 4 << 20
	// chunkDeadline bounds one chunk with its retries.
	chunkDeadline = 2 * time.Minute
)

// Open returns the bucket. It calls nobody: a bucket that is missing or refuses
// shows at the first use.
func Open(ctx context.Context, cfg Config) (*blob.Bucket, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	conn, err := connect(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	client := conn.client
	sign, err := newSigner(ctx, conn.http, &cfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("gcsblobs: %w", err), client.Close())
	}
	inner, err := gcsblob.OpenBucket(ctx, nil, cfg.Bucket, &gcsblob.Options{
		Client: client,
		// Set again for every link: see bucket.SignedURL.
		GoogleAccessID: "unknown", MakeSignBytes: func(context.Context) gcsblob.SignBytesFunc { return noSignature },
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("gcsblobs: %w", err), client.Close())
	}
	return blob.NewBucket(&bucket{
		name: cfg.Bucket, inner: inner, client: client, signer: sign, now: cfg.Now, links: linkHost(&cfg), idle: conn.idle,
	}), nil
}

func linkHost(cfg *Config) string {
	if cfg.Emulator == "" || cfg.LinkHost == "" {
		return cfg.Emulator
	}
	return cfg.LinkHost
}

func noSignature([]byte) ([]byte, error) { return nil, errors.New("gcsblobs: no signer") }
