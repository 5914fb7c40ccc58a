package firestoredocs

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	firestore "cloud.google.com/go/firestore/apiv1"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"codexgateway.dev/pkg/docstore"
)

// DefaultDatabase is the name of the database that a project has without asking.
const DefaultDatabase = "(default)"

// How connections live. A connection that a middlebox has dropped in silence is
// noticed by the first call on it, after pingTimeout; without it every call would
// end with its deadline until TCP gives up. reconnectMax bounds how long a store
// that is back stays unavailable.
const (
	pingAfter      = 30 * time.Second
	pingTimeout    = 10 * time.Second
	reconnectFirst = 100 * time.Millisecond
	reconnectMax   = 5 * time.Second
	connectTimeout = 5 * time.Second
)

// Config says which database to open, and how.
type Config struct {
	// Project is the Google Cloud project; required.
	Project string
	// Database is the database in it; empty: DefaultDatabase.
	Database string
	// Emulator is host:port of a Firestore emulator, spoken to in plain text as
	// its owner. Empty: the real service, with default credentials unless
	// Options bring others. The driver reads no environment itself.
	Emulator string
	// Options are added last to those of the client.
	Options []option.ClientOption
	// Logger hears of missing indexes; nil: nobody does.
	Logger *slog.Logger
}

// Driver is documents in one Firestore database.
type Driver struct {
	client    *firestore.Client
	database  string // projects/P/databases/D
	documents string // the parent of every root collection
	schema    docstore.Schema
	log       *slog.Logger
	missing   missing

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // added to under mu while closed is false
}

var _ docstore.Driver = (*Driver)(nil)

// Open returns a driver for documents of the schema. It does not talk to
// Firestore: a database that is away or lacks something shows at Ping and at the
// calls, which heal when it does. The error is ErrInvalid for a schema that
// Firestore cannot hold, or says that there are no credentials.
func Open(ctx context.Context, cfg Config, schema docstore.Schema) (*Driver, error) {
	if cfg.Project == "" {
		return nil, fmt.Errorf("%w: firestore: no project", docstore.ErrInvalid)
	}
	if err := checkSchema(schema); err != nil {
		return nil, err
	}
	if cfg.Database == "" {
		cfg.Database = DefaultDatabase
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	client, err := firestore.NewClient(ctx, clientOptions(cfg)...)
	if err != nil {
		return nil, fmt.Errorf("firestore: open project %s: %w", cfg.Project, err)
	}
	// Neither retries nor timeouts of the library's own.
	client.CallOptions = &firestore.CallOptions{}
	database := "projects/" + cfg.Project + "/databases/" + cfg.Database
	return &Driver{
		client:    client,
		database:  database,
		documents: database + "/documents",
		schema:    schema,
		log:       cfg.Logger,
		missing:   missing{queries: make(map[string]docstore.Query)},
	}, nil
}

func clientOptions(cfg Config) []option.ClientOption {
	reconnect := backoff.Config{BaseDelay: reconnectFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectMax}
	opts := []option.ClientOption{
		// docstore.Store has the spans and metrics of every call.
		option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithDisableRetry()),
		option.WithGRPCDialOption(grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: connectTimeout})),
		option.WithGRPCDialOption(grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout})),
	}
	if cfg.Emulator != "" {
		opts = append(opts,
			option.WithEndpoint(cfg.Emulator),
			option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
			option.WithGRPCDialOption(grpc.WithPerRPCCredentials(owner{})))
	}
	return append(opts, cfg.Options...)
}

// owner makes the emulator treat the caller as the project's owner, to whom
// security rules do not apply.
type owner struct{}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (owner) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer owner"}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: the
// emulator speaks plain text.
func (owner) RequireTransportSecurity() bool { return false }

// enter begins a call, which ends with d.calls.Done.
func (d *Driver) enter(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("%w: closed", docstore.ErrUnavailable)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("firestore: %w", err)
	}
	d.calls.Add(1)
	return nil
}

// Close implements [docstore.Driver]. It waits for the calls under way, which
// their deadlines end.
func (d *Driver) Close() error {
	d.mu.Lock()
	already := d.closed
	d.closed = true
	d.mu.Unlock()
	d.calls.Wait()
	if already {
		return nil
	}
	if err := d.client.Close(); err != nil {
		return fmt.Errorf("firestore: close: %w", err)
	}
	return nil
}

// collection is the declaration of a collection.
func (d *Driver) collection(name string) (docstore.Collection, error) {
	c, ok := d.schema.Collection(name)
	if !ok {
		return docstore.Collection{}, fmt.Errorf("%w: collection %q", docstore.ErrInvalid, name)
	}
	return c, nil
}

// path is the resource name of a document. Ids need no escaping: the port's
// alphabet has no slash.
func (d *Driver) path(k docstore.Key) string {
	return d.documents + "/" + k.Collection + "/" + k.ID
}
