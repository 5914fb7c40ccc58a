package pubsubbus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
)

// Config of [Open]. Project is required.
type Config struct {
	// Project is the id of the Google Cloud project that holds the topics.
	Project string
	// Emulator is host:port of a Pub/Sub emulator; empty: Google Cloud.
	Emulator string
	// Instance names this process in the names of its own subscriptions, for
	// people; it need not be unique.
	Instance string
	// Topics and Subscriptions that exist; dead letters are added
	// (bus.WithDeadLetters).
	Topics        []events.Topic
	Subscriptions []events.Subscription
	// Logger; nil: slog.Default().
	Logger *slog.Logger
	// Now is the clock that tokens of pushes are checked against; nil: time.Now.
	// Leases run on timers.
	Now func() time.Time
	// Options of the clients, after those of this package.
	Options []option.ClientOption
	// Push feeds the subscriptions it names by HTTP; nil: all are pulled.
	Push *Push
}

// callTimeout bounds each call to Pub/Sub that is not a stream.
const callTimeout = 10 * time.Second

// Driver is the bus.Driver of Pub/Sub. It is safe for concurrent use.
type Driver struct {
	project  string
	instance string
	clientID string // tells this process from others that read the same subscription
	emulated bool
	log      *slog.Logger
	client   *pubsub.Client
	push     *Push
	// Declared, dead letters included; never changed after Open.
	topics []events.Topic
	subs   []events.Subscription
	known  map[string]bool                // topics by name
	byName map[string]events.Subscription // subscriptions by name

	// life ends with Close.
	life context.Context //nolint:containedctx // the life of the driver, not of a call
	end  context.CancelCauseFunc
	// sending ends when Close stops to wait for what is being published.
	sending context.Context //nolint:containedctx // as above
	stop    context.CancelFunc
	health  health

	mu         sync.Mutex
	publishers map[string]*pubsub.Publisher
	closed     bool
	active     sync.WaitGroup // one per running Receive or Publish
	closing    sync.Once
	closeErr   error
}

var _ bus.Driver = (*Driver)(nil)

// Open returns the driver without a network call. It fails on a configuration
// that nothing can heal: no project, no credentials, a Push that names an
// undeclared subscription or lets anybody in.
func Open(ctx context.Context, cfg Config) (*Driver, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Driver{
		project: cfg.Project, instance: instanceName(cfg.Instance), clientID: rand.Text(), emulated: cfg.Emulator != "", log: cfg.Logger,
		known: make(map[string]bool), byName: make(map[string]events.Subscription), publishers: make(map[string]*pubsub.Publisher),
	}
	d.topics, d.subs = bus.WithDeadLetters(cfg.Topics, cfg.Subscriptions)
	for _, t := range d.topics {
		d.known[t.Name] = true
	}
	for _, s := range d.subs {
		d.byName[s.Name] = withDefaults(s)
	}
	if cfg.Push != nil {
		if err := cfg.Push.bind(ctx, d, cfg.Now); err != nil {
			return nil, err
		}
		d.push = cfg.Push
	}
	var err error
	if d.client, err = pubsub.NewClient(ctx, cfg.Project, clientOptions(&cfg)...); err != nil {
		return nil, fmt.Errorf("pubsubbus: open: %w", err)
	}
	// One attempt each: a receiver and Ping retry, or report, on their own.
	d.client.TopicAdminClient.CallOptions.GetTopic = nil
	subs := d.client.SubscriptionAdminClient.CallOptions
	subs.GetSubscription, subs.CreateSubscription, subs.StreamingPull, subs.ModifyAckDeadline = nil, nil, nil, nil
	d.health.init()
	d.life, d.end = context.WithCancelCause(context.WithoutCancel(ctx))
	d.sending, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	calls := d.client.TopicAdminClient.CallOptions
	calls.Publish = append(calls.Publish, gax.WithRetry(func() gax.Retryer { return newResend(d.sending) }))
	return d, nil
}

// clientOptions are complete: what the environment of the process says about
// emulators has no effect beside them.
func clientOptions(cfg *Config) []option.ClientOption {
	opts := []option.ClientOption{
		option.WithTelemetryDisabled(), // spans and metrics are those of package bus
		// gRPC would wait up to two minutes before it dials again.
		option.WithGRPCDialOption(grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: callTimeout,
		})),
	}
	if cfg.Emulator != "" {
		opts = append(opts, option.WithEndpoint(cfg.Emulator), option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	}
	return append(opts, cfg.Options...)
}

// Numbers of Pub/Sub (https://cloud.google.com/pubsub/docs/subscription-properties).
const (
	minAckDeadline   = 10 * time.Second
	maxAckDeadline   = 10 * time.Minute
	sharedRetention  = 7 * 24 * time.Hour
	maxBackoff       = 10 * time.Minute
	minInstanceLives = 24 * time.Hour
)

// withDefaults fills in what a subscription leaves open and keeps it within
// what Pub/Sub takes.
func withDefaults(s events.Subscription) events.Subscription {
	s.AckDeadline = min(max(s.AckDeadline, minAckDeadline), maxAckDeadline)
	s.MaxExtension = max(s.MaxExtension, s.AckDeadline)
	s.MaxBackoff = min(s.MaxBackoff, maxBackoff)
	if s.Retention == 0 {
		s.Retention = sharedRetention
		if s.Mode == events.PerInstance {
			s.Retention = 10 * time.Minute
		}
	}
	if s.Mode == events.PerInstance {
		s.ExpireAfter = max(s.ExpireAfter, minInstanceLives)
	}
	return s
}

// begin registers a call that Close waits for. done must be called when ok.
func (d *Driver) begin() (ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.active.Add(1)
	return true
}

// Close implements bus.Driver: it ends every Receive, waits for them and their
// handlers, sends what is being published within flushLimit and closes the
// connections. Calling it from a handler deadlocks.
func (d *Driver) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.end(bus.ErrClosed)
	d.active.Wait()
	d.closing.Do(func() {
		flushed := make(chan struct{})
		go func() {
			defer close(flushed)
			for _, p := range d.publishers { // nobody publishes any more
				p.Stop()
			}
		}()
		limit := time.NewTimer(flushLimit)
		defer limit.Stop()
		select {
		case <-flushed:
		case <-limit.C:
		}
		d.stop()
		err := d.client.Close() // which ends what is being sent
		<-flushed
		if err != nil && status.Code(errors.Unwrap(err)) != codes.Canceled { // both halves may share a connection
			d.closeErr = fmt.Errorf("pubsubbus: close: %w", err)
		}
	})
	return d.closeErr
}

func (d *Driver) topicPath(name string) string { return "projects/" + d.project + "/topics/" + name }

func (d *Driver) subPath(id string) string { return "projects/" + d.project + "/subscriptions/" + id }
