package chassis

import (
	"context"
	"io"
	"log/slog"
	"os"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// LogConfig chooses what is logged and in which form.
type LogConfig struct {
	Level  slog.Level `env:"CODEXGW_LOG_LEVEL,default=info" oneof:"debug,info,warn,error" doc:"The least severe message that is logged."`
	Format string     `env:"CODEXGW_LOG_FORMAT,default=auto" oneof:"auto,json,text" doc:"json as Google Cloud Logging reads it, text for people; auto is text on a terminal and json elsewhere."`
	// Project makes trace ids links in Google Cloud Logging.
	Project string `env:"GOOGLE_CLOUD_PROJECT" doc:"The Google Cloud project."`
}

// NewLogger returns a logger to w. Its JSON has the fields that Google Cloud
// Logging reads: severity, message, time and, inside a span, the trace
// (https://cloud.google.com/logging/docs/structured-logging).
func NewLogger(w io.Writer, cfg LogConfig) *slog.Logger {
	if cfg.Format == "text" || cfg.Format != "json" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: cfg.Level}))
	}
	h := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: cfg.Level, ReplaceAttr: cloudNames})
	return slog.New(&traceHandler{root: h, next: h, project: cfg.Project})
}

// isTerminal reports whether w is a character device.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// cloudNames renames the built-in attributes.
func cloudNames(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.LevelKey:
		level, ok := a.Value.Any().(slog.Level)
		if !ok {
			return a // an attribute of the caller that happens to be called level
		}
		return slog.String("severity", severity(level))
	case slog.MessageKey:
		return slog.Attr{Key: "message", Value: a.Value}
	default:
		return a
	}
}

// severity is the LogSeverity of a level.
func severity(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "DEBUG"
	case l < slog.LevelWarn:
		return "INFO"
	case l < slog.LevelError:
		return "WARNING"
	default:
		return "ERROR"
	}
}

// Keys that Cloud Logging gives a meaning.
const (
	keyTrace   = "logging.googleapis.com/trace"
	keySpan    = "logging.googleapis.com/spanId"
	keySampled = "logging.googleapis.com/trace_sampled"
)

// traceHandler adds the span of the context to a record, at the top level also
// when the logger has open groups: Cloud Logging looks nowhere else.
type traceHandler struct {
	root, next slog.Handler
	project    string
	// steps rebuild next from root; kept once a group is open.
	steps   []func(slog.Handler) slog.Handler
	grouped bool
}

var _ slog.Handler = (*traceHandler)(nil)

// Enabled implements slog.Handler.
func (h *traceHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.next.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (h *traceHandler) Handle(ctx context.Context, r slog.Record) error {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return h.next.Handle(ctx, r)
	}
	attrs := h.attrs(span)
	if !h.grouped {
		r = r.Clone()
		r.AddAttrs(attrs...)
		return h.next.Handle(ctx, r)
	}
	next := h.root.WithAttrs(attrs)
	for _, step := range h.steps {
		next = step(next)
	}
	return next.Handle(ctx, r)
}

//nolint:sloglint // the names are Cloud Logging's
func (h *traceHandler) attrs(span trace.SpanContext) []slog.Attr {
	name := span.TraceID().String()
	if h.project != "" {
		name = "projects/" + h.project + "/traces/" + name
	}
	return []slog.Attr{
		{Key: keyTrace, Value: slog.StringValue(name)},
		{Key: keySpan, Value: slog.StringValue(span.SpanID().String())},
		{Key: keySampled, Value: slog.BoolValue(span.IsSampled())},
	}
}

// WithAttrs implements slog.Handler.
func (h *traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(false, func(n slog.Handler) slog.Handler { return n.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *traceHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(true, func(n slog.Handler) slog.Handler { return n.WithGroup(name) })
}

func (h *traceHandler) with(group bool, step func(slog.Handler) slog.Handler) slog.Handler {
	c := *h
	c.next = step(h.next)
	c.grouped = h.grouped || group
	c.steps = append(slices.Clone(h.steps), step)
	return &c
}
