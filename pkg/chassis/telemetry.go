package chassis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
)

// TelemetryConfig chooses where spans and metrics go. Further OTEL_ variables
// (headers, sampler, export interval, resource attributes) are read by the
// OpenTelemetry SDK itself.
type TelemetryConfig struct {
	Endpoint string `env:"OTEL_EXPORTER_OTLP_ENDPOINT" doc:"The OTLP/HTTP collector for spans and metrics, like http://127.0.0.1:4318; without it none are exported."`
	Disabled bool   `env:"OTEL_SDK_DISABLED" doc:"Turns spans and metrics off."`
}

// telemetry is what the process measures with. Where nothing reads the spans or
// the metrics, their provider is a no-op and costs nothing.
type telemetry struct {
	tracing trace.TracerProvider
	metrics metric.MeterProvider
	// scrape serves /metrics; nil without an internal listener.
	scrape http.Handler
	stops  []func(context.Context) error
}

// newTelemetry sets up tracing and metrics; scraped says that somebody will
// read /metrics. The caller calls stop.
func newTelemetry(ctx context.Context, name string, build BuildInfo, cfg TelemetryConfig, scraped bool) (*telemetry, error) {
	t := &telemetry{tracing: nooptrace.NewTracerProvider(), metrics: noopmetric.NewMeterProvider()}
	if cfg.Disabled {
		return t, nil
	}
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "codexgw-"+name), attribute.String("service.version", build.Version)),
		resource.WithFromEnv(), resource.WithTelemetrySDK(),
	)
	if err != nil {
		return nil, fmt.Errorf("telemetry: resource: %w", err)
	}
	if err := t.open(ctx, res, strings.TrimRight(cfg.Endpoint, "/"), scraped); err != nil {
		return nil, errors.Join(err, t.stop(ctx))
	}
	return t, nil
}

func (t *telemetry) open(ctx context.Context, res *resource.Resource, endpoint string, scraped bool) error {
	var readers []sdkmetric.Option
	if endpoint != "" {
		spans, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint+"/v1/traces"))
		if err != nil {
			return fmt.Errorf("telemetry: span exporter: %w", err)
		}
		provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(res))
		t.tracing, t.stops = provider, append(t.stops, provider.Shutdown)
		metrics, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(endpoint+"/v1/metrics"))
		if err != nil {
			return fmt.Errorf("telemetry: metric exporter: %w", err)
		}
		readers = append(readers, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)))
	}
	if scraped {
		// A registry of its own: the default one is global.
		registry := prometheus.NewRegistry()
		registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		reader, err := promexporter.New(promexporter.WithRegisterer(registry))
		if err != nil {
			return fmt.Errorf("telemetry: prometheus: %w", err)
		}
		readers = append(readers, sdkmetric.WithReader(reader))
		t.scrape = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	}
	if len(readers) > 0 {
		provider := sdkmetric.NewMeterProvider(append(readers, sdkmetric.WithResource(res))...)
		t.metrics, t.stops = provider, append(t.stops, provider.Shutdown)
	}
	return nil
}

// install makes the providers those of libraries that know only the global
// ones. It is for the process, not for a package under test.
func (t *telemetry) install(ctx context.Context, log *slog.Logger) {
	ctx = context.WithoutCancel(ctx) // the last export fails after the end
	otel.SetTracerProvider(t.tracing)
	otel.SetMeterProvider(t.metrics)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.LogAttrs(ctx, slog.LevelWarn, "telemetry failed", slog.String("error", err.Error()))
	}))
}

// stop flushes and ends the exporters.
func (t *telemetry) stop(ctx context.Context) error {
	var failures []error
	for _, stop := range t.stops {
		if err := stop(ctx); err != nil {
			failures = append(failures, fmt.Errorf("telemetry: flush: %w", err))
		}
	}
	return errors.Join(failures...)
}
