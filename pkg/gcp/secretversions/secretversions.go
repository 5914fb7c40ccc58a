package secretversions

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"codexgateway.dev/pkg/secret"
)

// callTimeout bounds one call with its retries: the library repeats a call to a
// service that is away for as long as it may.
const callTimeout = 10 * time.Second

// Config of [Open].
type Config struct {
	// Project is the id of the project that holds the secrets.
	Project string
	// Emulator is host:port of a server that speaks plaintext gRPC; empty: the
	// real service.
	Emulator string
	// Options are added to those of the client: credentials, interceptors.
	Options []option.ClientOption
}

// Driver is the secret.Driver. It is safe for concurrent use.
type Driver struct {
	project string
	client  *secretmanager.Client
	closing sync.Once
	closed  chan struct{}
}

var _ secret.Driver = (*Driver)(nil)

// Open returns the driver. It calls nobody.
func Open(ctx context.Context, cfg Config) (*Driver, error) {
	if cfg.Project == "" {
		return nil, errors.New("secretversions: no project")
	}
	var options []option.ClientOption
	if cfg.Emulator != "" {
		options = append(options, option.WithEndpoint(cfg.Emulator), option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	}
	client, err := secretmanager.NewClient(ctx, append(options, cfg.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("secretversions: %w", err)
	}
	// The library's first pause is 2 s: most of what a caller waits at all.
	client.CallOptions.AccessSecretVersion = []gax.CallOption{gax.WithRetry(func() gax.Retryer {
		return gax.OnCodes([]codes.Code{codes.Unavailable, codes.ResourceExhausted},
			gax.Backoff{Initial: 100 * time.Millisecond, Max: 2 * time.Second, Multiplier: 2})
	})}
	return &Driver{project: cfg.Project, client: client, closed: make(chan struct{})}, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Latest implements secret.Driver.
func (d *Driver) Latest(ctx context.Context, name string) (secret.Value, error) {
	if !secret.ValidName(name) {
		return secret.Value{}, fmt.Errorf("secretversions: %w", secret.ErrInvalidName)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := d.client.AccessSecretVersion(ctx, &secretmanagerpb.AccessSecretVersionRequest{
		Name: "projects/" + d.project + "/secrets/" + name + "/versions/latest",
	})
	if err != nil {
		return secret.Value{}, fmt.Errorf("secretversions: %w", d.meaning(ctx, name, err))
	}
	payload := answer.GetPayload()
	data := payload.GetData()
	if payload == nil || payload.DataCrc32C == nil || int64(crc32.Checksum(data, castagnoli)) != payload.GetDataCrc32C() {
		// The service sends a checksum with every payload.
		return secret.Value{}, fmt.Errorf("secretversions: the payload of %s does not match its checksum", name)
	}
	switch {
	case len(data) == 0:
		return secret.Value{}, fmt.Errorf("secretversions: %s is empty: %w", name, secret.ErrNotFound)
	case len(data) > secret.MaxBytes:
		return secret.Value{}, fmt.Errorf("secretversions: %s has more than %d bytes", name, secret.MaxBytes)
	}
	return secret.NewValue(string(data)), nil
}

// meaning gives an error of the service the one of the port, or says what to do.
func (d *Driver) meaning(ctx context.Context, name string, err error) error {
	select {
	case <-d.closed:
		return fmt.Errorf("%w: %w", secret.ErrClosed, err)
	default:
	}
	switch ended := context.Cause(ctx); {
	case errors.Is(ended, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w: %w", secret.ErrUnavailable, ended, err)
	case ended != nil:
		return fmt.Errorf("%w: %w", ended, err)
	}
	//exhaustive:ignore // the other codes speak for themselves
	switch status.Code(err) {
	case codes.NotFound, codes.FailedPrecondition:
		// FailedPrecondition: the newest version is disabled or destroyed. An
		// older one is not served instead: it was replaced for a reason.
		return fmt.Errorf("%w: %w", secret.ErrNotFound, err)
	case codes.PermissionDenied:
		return fmt.Errorf("%s may not be read by this service account, or does not exist: grant it roles/secretmanager.secretAccessor: %w", name, err)
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.Internal:
		return fmt.Errorf("%w: %w", secret.ErrUnavailable, err)
	default:
		return err
	}
}

// Close implements secret.Driver.
func (d *Driver) Close() error {
	var err error
	d.closing.Do(func() {
		close(d.closed)
		err = d.client.Close()
	})
	if err != nil {
		return fmt.Errorf("secretversions: close: %w", err)
	}
	return nil
}
