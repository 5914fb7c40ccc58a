package gcsblobs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"cloud.google.com/go/auth/httptransport"
	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

// Create creates the bucket in a project; one that is there stays as it is. In
// production Terraform does this, with its location and life cycle.
func Create(ctx context.Context, project string, cfg Config) error {
	conn, err := connect(ctx, &cfg)
	if err != nil {
		return err
	}
	defer conn.idle()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = conn.client.Bucket(cfg.Bucket).Create(ctx, project, nil)
	if answer := (*googleapi.Error)(nil); errors.As(err, &answer) && answer.Code == http.StatusConflict {
		err = nil
	}
	if err := errors.Join(err, conn.client.Close()); err != nil {
		return fmt.Errorf("gcsblobs: create bucket %s: %w", cfg.Bucket, err)
	}
	return nil
}

// connection is a storage client with what is below it.
type connection struct {
	http   *http.Client
	client *storage.Client
	idle   func()
}

// connect builds the client, and calls nobody.
func connect(ctx context.Context, cfg *Config) (*connection, error) {
	switch {
	case cfg.Bucket == "":
		return nil, errors.New("gcsblobs: no bucket")
	case cfg.Emulator == "" && cfg.Credentials == nil:
		return nil, errors.New("gcsblobs: no credentials")
	}
	cfg.Emulator = strings.Trim(strings.TrimPrefix(cfg.Emulator, "http://"), "/")
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
	return &connection{http: hc, client: client, idle: base.CloseIdleConnections}, nil
}

// newTransport is one of this bucket's own, so that closing the bucket closes
// its connections.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: 90 * time.Second, MaxIdleConns: 64, MaxIdleConnsPerHost: 32,
	}
}
