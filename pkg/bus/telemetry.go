package bus

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"codexgateway.dev/events"
)

// scope is the instrumentation scope of the package's spans and metrics.
const scope = "codexgateway.dev/pkg/bus"

// telemetry holds the instruments of one bus.
type telemetry struct {
	tracer     trace.Tracer
	publishes  metric.Int64Counter
	deliveries metric.Int64Counter
	age        metric.Float64Histogram
}

func newTelemetry(tp trace.TracerProvider, mp metric.MeterProvider, log *slog.Logger) telemetry {
	if tp == nil {
		tp = otel.GetTracerProvider()
	}
	if mp == nil {
		mp = otel.GetMeterProvider()
	}
	meter := mp.Meter(scope)
	t := telemetry{tracer: tp.Tracer(scope)}
	var errs [3]error
	t.publishes, errs[0] = meter.Int64Counter("codexgw_bus_publishes",
		metric.WithDescription("Events handed to the bus, by topic and whether it took them."))
	t.deliveries, errs[1] = meter.Int64Counter("codexgw_bus_deliveries",
		metric.WithDescription("Deliveries handled, by subscription and outcome (ack, retry, reject, none)."))
	t.age, errs[2] = meter.Float64Histogram("codexgw_bus_age", metric.WithUnit("s"),
		metric.WithDescription("Time from publish to the start of a handler, by subscription."),
		metric.WithExplicitBucketBoundaries(0.00005, 0.0001, 0.00025, 0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30, 120, 600))
	for _, err := range errs {
		if err != nil { // the instrument returned beside the error is a no-op: go on without it
			log.Error("bus metric not created", slog.String("error", err.Error()))
		}
	}
	return t
}

// publishSpan describes the span of one publish.
func publishSpan(topic string, ev *events.Event) []trace.SpanStartOption {
	return []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.destination.name", topic),
		attribute.String("messaging.message.id", ev.ID()),
		attribute.String("cloudevents.event_type", ev.Type()))}
}

// deliverySpan describes the span of one delivery. It begins a trace of its
// own: a message may be handled hours after it was published, and by several.
// The link leads back.
func deliverySpan(ctx context.Context, subscription string, d *Delivery) []trace.SpanStartOption {
	opts := []trace.SpanStartOption{
		trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			attribute.String("messaging.destination.subscription.name", subscription),
			attribute.String("messaging.message.id", d.Event.ID()),
			attribute.String("cloudevents.event_type", d.Event.Type()),
			attribute.Int("messaging.delivery.attempt", d.Attempt)),
	}
	if parent := traceOf(&d.Event); parent != "" {
		carrier := propagation.MapCarrier{"traceparent": parent}
		none := trace.ContextWithSpanContext(ctx, trace.SpanContext{}) // what Extract keeps when parent is no traceparent
		remote := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(none, carrier))
		if remote.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: remote}))
		}
	}
	return opts
}

func (t *telemetry) published(ctx context.Context, topic string, taken bool) {
	t.publishes.Add(ctx, 1, metric.WithAttributes(attribute.String("topic", topic), attribute.Bool("taken", taken)))
}

func (t *telemetry) received(ctx context.Context, subscription string, age time.Duration) {
	t.age.Record(ctx, max(age, 0).Seconds(), metric.WithAttributes(attribute.String("subscription", subscription)))
}

func (t *telemetry) delivered(ctx context.Context, subscription, outcome string) {
	t.deliveries.Add(ctx, 1, metric.WithAttributes(attribute.String("subscription", subscription), attribute.String("outcome", outcome)))
}

// traceParent is the W3C traceparent of ctx's span, empty when there is none.
func traceParent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}
