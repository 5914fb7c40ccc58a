package chassis_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/secret"
)

func TestLogger(t *testing.T) {
	t.Parallel()
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	traced := map[string]any{
		"logging.googleapis.com/trace":         "projects/p/traces/01000000000000000000000000000000",
		"logging.googleapis.com/spanId":        "0200000000000000",
		"logging.googleapis.com/trace_sampled": true,
	}
	tests := []struct {
		name string
		log  func(l *slog.Logger)
		want map[string]any
	}{
		{"severity", func(l *slog.Logger) {
			l.LogAttrs(t.Context(), slog.LevelWarn, "m", slog.Int("n", 1))
		}, map[string]any{"severity": "WARNING", "message": "m", "n": 1.0}},
		{"secret", func(l *slog.Logger) {
			l.LogAttrs(t.Context(), slog.LevelError, "m", slog.Any("key", secret.NewValue("hunter2")))
		}, map[string]any{"severity": "ERROR", "message": "m", "key": "[redacted]"}},
		{"own level attribute", func(l *slog.Logger) {
			l.LogAttrs(t.Context(), slog.LevelInfo, "m", slog.String("level", "3"))
		}, map[string]any{"severity": "INFO", "message": "m", "level": "3"}},
		{"span", func(l *slog.Logger) {
			l.With(slog.Int("a", 1)).LogAttrs(ctx, slog.LevelDebug, "m")
		}, map[string]any{"severity": "DEBUG", "message": "m", "a": 1.0}},
		{"span stays outside of groups", func(l *slog.Logger) {
			l.With(slog.Int("a", 1)).WithGroup("g").With(slog.Int("b", 2)).LogAttrs(ctx, slog.LevelInfo, "m", slog.Int("c", 3))
		}, map[string]any{"severity": "INFO", "message": "m", "a": 1.0, "g": map[string]any{"b": 2.0, "c": 3.0}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			tt.log(chassis.NewLogger(&out, chassis.LogConfig{Level: slog.LevelDebug, Project: "p"}))
			var got map[string]any
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatalf("%s: %v", out.Bytes(), err)
			}
			if _, ok := got["time"].(string); !ok {
				t.Errorf("no time: %s", out.Bytes())
			}
			delete(got, "time")
			if strings.HasPrefix(tt.name, "span") {
				for k, v := range traced {
					if got[k] != v {
						t.Errorf("%s = %v, want %v", k, got[k], v)
					}
					delete(got, k)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoggerObeysLevelAndFormat(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := chassis.NewLogger(&out, chassis.LogConfig{Level: slog.LevelWarn, Format: "text"})
	l.LogAttrs(t.Context(), slog.LevelInfo, "quiet")
	l.LogAttrs(t.Context(), slog.LevelWarn, "loud")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "level=WARN msg=loud") {
		t.Errorf("log = %q", got)
	}
}
