package broker

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics are the broker's instruments. No label has more than a few values.
type metrics struct {
	requests  metric.Int64Counter
	retries   metric.Int64Counter
	tokens    metric.Int64Counter
	firstByte metric.Float64Histogram
}

func newMetrics(m metric.Meter) (*metrics, error) {
	var errs [4]error
	var out metrics
	out.requests, errs[0] = m.Int64Counter("codexgw_model_requests",
		metric.WithDescription("Model requests of Codex by the class of the answer it got."), metric.WithUnit("{request}"))
	out.retries, errs[1] = m.Int64Counter("codexgw_model_retries",
		metric.WithDescription("Attempts repeated by the broker, by reason."), metric.WithUnit("{attempt}"))
	out.tokens, errs[2] = m.Int64Counter("codexgw_model_tokens",
		metric.WithDescription("Tokens reported by the model, by kind."), metric.WithUnit("{token}"))
	out.firstByte, errs[3] = m.Float64Histogram("codexgw_model_first_byte_seconds",
		metric.WithDescription("Time from Codex's request to the first byte of the model's stream, retries included."), metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120))
	return &out, errors.Join(errs[:]...)
}

func (m *metrics) answered(ctx context.Context, status int) {
	class := "none" // the client left, or was cut
	if status > 0 {
		class = strconv.Itoa(status/100) + "xx"
	}
	m.requests.Add(ctx, 1, metric.WithAttributes(attribute.String("status_class", class)))
}

func (m *metrics) retried(ctx context.Context, reason string) {
	m.retries.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reason)))
}

func (m *metrics) streaming(ctx context.Context, after time.Duration) {
	m.firstByte.Record(ctx, after.Seconds())
}

// used counts tokens. Cached is part of input and reasoning part of output, so
// each kind is a series of its own to be read, not to be summed.
func (m *metrics) used(ctx context.Context, t tokens) {
	for _, k := range []struct {
		kind string
		n    int64
	}{
		{"input", t.Input},
		{"cached_input", t.Details.Cached},
		{"output", t.Output},
		{"reasoning", t.OutputDetails.Reasoning},
	} {
		m.tokens.Add(ctx, k.n, metric.WithAttributes(attribute.String("kind", k.kind)))
	}
}
