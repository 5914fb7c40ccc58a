package docstore

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

const scope = "codexgateway.dev/pkg/docstore"

// collectionKey labels spans with the collection of the call; of a commit, that
// of its first write.
const collectionKey = attribute.Key("docstore.collection")

// op is a call of the port; it indexes telemetry's tables.
type op int

const (
	opGet op = iota
	opQuery
	opCommit
	opPing
	opCount
)

// outcome is how a call ended, as metrics count it.
type outcome int

const (
	outcomeOK outcome = iota
	outcomeNotFound
	outcomeConflict
	outcomeUnavailable
	outcomeTooLarge
	outcomeInvalid
	outcomeFull
	outcomeCanceled
	outcomeError
	outcomeCount
)

// telemetry holds the instruments, and every label set made once: labels made
// for each call would cost more than a point read.
type telemetry struct {
	tracer   trace.Tracer
	duration metric.Float64Histogram
	labels   [opCount][outcomeCount]metric.MeasurementOption
}

// spanNames are the names of spans by op.
var spanNames = [opCount]string{"docstore.get", "docstore.query", "docstore.commit", "docstore.ping"}

func newTelemetry(tp trace.TracerProvider, mp metric.MeterProvider) (*telemetry, error) {
	if tp == nil {
		tp = otel.GetTracerProvider()
	}
	if mp == nil {
		mp = otel.GetMeterProvider()
	}
	duration, err := mp.Meter(scope).Float64Histogram("codexgw.docstore.call",
		metric.WithUnit("s"),
		metric.WithDescription("Duration of document store calls, retries included."),
		metric.WithExplicitBucketBoundaries(.00005, .0002, .001, .005, .02, .1, .5, 2, 10))
	if err != nil {
		return nil, err
	}
	t := &telemetry{tracer: tp.Tracer(scope), duration: duration}
	opNames := [opCount]string{"get", "query", "commit", "ping"}
	outcomeNames := [outcomeCount]string{
		"ok", "not_found", "conflict", "unavailable", "too_large", "invalid", "full", "canceled", "error",
	}
	for o, name := range opNames {
		for r, result := range outcomeNames {
			t.labels[o][r] = metric.WithAttributeSet(attribute.NewSet(
				attribute.String("op", name), attribute.String("outcome", result)))
		}
	}
	return t, nil
}

// call is one call under way.
type call struct {
	t     *telemetry
	ctx   context.Context //nolint:containedctx // lives as long as the call, for its metric's exemplar
	span  trace.Span
	op    op
	begun time.Time
}

// start begins the span and the clock of a call; the caller ends it.
func (t *telemetry) start(ctx context.Context, o op, collection string) (context.Context, call) {
	ctx, span := t.tracer.Start(ctx, spanNames[o], trace.WithSpanKind(trace.SpanKindClient))
	if span.IsRecording() {
		span.SetAttributes(collectionKey.String(collection))
	}
	return ctx, call{t: t, ctx: ctx, span: span, op: o, begun: time.Now()}
}

// end records how the call went. Not finding a document and losing a race are
// answers, so they do not make the span an error.
func (c call) end(err error) {
	result := outcomeOf(err)
	c.t.duration.Record(c.ctx, time.Since(c.begun).Seconds(), c.t.labels[c.op][result])
	if err != nil && result != outcomeNotFound && result != outcomeConflict {
		c.span.RecordError(err)
		c.span.SetStatus(codes.Error, "")
	}
	c.span.End()
}

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return outcomeOK
	case errors.Is(err, ErrNotFound):
		return outcomeNotFound
	case errors.Is(err, ErrConflict):
		return outcomeConflict
	case errors.Is(err, ErrFull):
		return outcomeFull
	case errors.Is(err, ErrTooLarge):
		return outcomeTooLarge
	case errors.Is(err, ErrInvalid):
		return outcomeInvalid
	case errors.Is(err, ErrUnavailable):
		return outcomeUnavailable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return outcomeCanceled
	default:
		return outcomeError
	}
}
