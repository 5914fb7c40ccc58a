package gcsblobs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/httptransport"
	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
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
	switch {
	case cfg.Bucket == "":
		return nil, errors.New("gcsblobs: no bucket")
	case cfg.Emulator == "" && cfg.Credentials == nil:
		return nil, errors.New("gcsblobs: no credentials")
	}
	cfg.Emulator = strings.Trim(strings.TrimPrefix(cfg.Emulator, "http://"), "/")
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Stall <= 0 {
		cfg.Stall = 30 * time.Second
	}
	base := newTransport()
	hc := &http.Client{Transport: &stallGuard{next: base, limit: cfg.Stall}}
	if cfg.Wrap != nil {
		hc.Transport = cfg.Wrap(hc.Transport)
	}
	options := []option.ClientOption{option.WithHTTPClient(hc), storage.WithJSONReads()}
	if cfg.Emulator == "" {
		if err := httptransport.AddAuthorizationMiddleware(hc, cfg.Credentials); err != nil {
			return nil, fmt.Errorf("gcsblobs: %w", err)
		}
		// The client has its authorization already; without these it would look
		// for the machine's own.
		options = append(options, option.WithAuthCredentials(cfg.Credentials))
	} else {
		options = append(options, option.WithoutAuthentication(), option.WithEndpoint("http://"+cfg.Emulator+"/storage/v1/"))
	}
	client, err := storage.NewClient(ctx, append(options, cfg.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("gcsblobs: %w", err)
	}
	client.SetRetry(storage.WithMaxAttempts(attempts), storage.WithBackoff(gax.Backoff{Initial: 250 * time.Millisecond, Max: 4 * time.Second, Multiplier: 2}))
	sign, err := newSigner(ctx, hc, &cfg)
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
		name: cfg.Bucket, inner: inner, client: client, signer: sign, now: cfg.Now, emulator: cfg.Emulator, idle: base.CloseIdleConnections,
	}), nil
}

func noSignature([]byte) ([]byte, error) { return nil, errors.New("gcsblobs: no signer") }

// newTransport is one of this bucket's own, so that closing the bucket closes
// its connections.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: 90 * time.Second, MaxIdleConns: 64, MaxIdleConnsPerHost: 32,
	}
}
