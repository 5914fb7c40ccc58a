package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"codexgateway.dev/events"
)

// defaultPublishTimeout bounds a publish whose caller brought no sooner deadline.
const defaultPublishTimeout = 10 * time.Second

// Options of a [Bus]. The zero value works.
type Options struct {
	// Logger; nil: slog.Default().
	Logger *slog.Logger
	// PublishTimeout bounds one publish; 0: 10 s.
	PublishTimeout time.Duration
	// Subscriptions tells where rejected messages go; nil: events.Subscriptions.
	Subscriptions []events.Subscription
	// Now is the clock for ages; nil: time.Now.
	Now func() time.Time
	// TracerProvider and MeterProvider; nil: those registered with OpenTelemetry.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// Bus is what services publish to and receive from. It is safe for concurrent use.
type Bus struct {
	driver  Driver
	log     *slog.Logger
	timeout time.Duration
	now     func() time.Time
	subs    map[string]events.Subscription
	tel     telemetry
}

// New returns the bus over a driver. Closing the bus closes the driver.
func New(d Driver, opt Options) *Bus {
	b := &Bus{driver: d, log: opt.Logger, timeout: opt.PublishTimeout, now: opt.Now}
	if b.log == nil {
		b.log = slog.Default()
	}
	if b.timeout <= 0 {
		b.timeout = defaultPublishTimeout
	}
	if b.now == nil {
		b.now = time.Now
	}
	subs := opt.Subscriptions
	if subs == nil {
		subs = events.Subscriptions
	}
	b.subs = make(map[string]events.Subscription, len(subs))
	for _, s := range subs {
		b.subs[s.Name] = s
	}
	b.tel = newTelemetry(opt.TracerProvider, opt.MeterProvider, b.log)
	return b
}

// Publish hands the event to the topic of its type (events.Registry) and
// returns when the bus has taken it. The event carries the trace of ctx from
// here on; ev itself is not changed, and nobody may change its data bytes
// afterwards.
//
// Errors: ErrInvalid (no CloudEvent), ErrUnknownTopic (no such type),
// ErrTooLarge, ErrFull, ErrUnavailable, ErrClosed, or that of ctx. After
// ErrUnavailable or a deadline the event may still have been published:
// publish it again with the same id.
func (b *Bus) Publish(ctx context.Context, ev events.Event) error {
	if err := ev.Validate(); err != nil {
		return fmt.Errorf("bus: publish: %w: %w", ErrInvalid, err)
	}
	spec, ok := events.Lookup(ev.Type())
	if !ok {
		return fmt.Errorf("bus: publish: %w: event type %q", ErrUnknownTopic, ev.Type())
	}
	return b.publish(ctx, spec.Topic, &ev)
}

// publish sends ev to a topic with a deadline, inside a span that the event
// then names as its origin.
func (b *Bus) publish(ctx context.Context, topic string, ev *events.Event) error {
	if len(ev.DataEncoded) > MaxMessageBytes {
		return fmt.Errorf("bus: publish to %s: %w: %d bytes", topic, ErrTooLarge, len(ev.DataEncoded))
	}
	ctx, span := b.tel.tracer.Start(ctx, "bus.publish", publishSpan(topic, ev)...)
	defer span.End()
	ctx, cancel := context.WithTimeoutCause(ctx, b.timeout, fmt.Errorf("publish took longer than %s: %w", b.timeout, ErrUnavailable))
	defer cancel()

	out := *ev
	if parent := traceParent(ctx); parent != "" {
		out = withHeaderCopy(ev)
		out.SetExtension(events.ExtTraceParent, parent)
	}
	if err := b.driver.Publish(ctx, topic, out); err != nil {
		b.tel.published(ctx, topic, false)
		span.SetStatus(codes.Error, "publish")
		return fmt.Errorf("bus: publish to %s: %w", topic, withCause(ctx, err))
	}
	b.tel.published(ctx, topic, true)
	return nil
}

// withCause adds why ctx ended to an error that only says that it did.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// Ping reports whether the bus can serve, within the publish timeout.
func (b *Bus) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	if err := b.driver.Ping(ctx); err != nil {
		return fmt.Errorf("bus: ping: %w", err)
	}
	return nil
}

// Close ends every receiver, waits for their handlers and closes the driver.
func (b *Bus) Close() error {
	if err := b.driver.Close(); err != nil {
		return fmt.Errorf("bus: close: %w", err)
	}
	return nil
}
