package call

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
)

// Log records the outcome of one JSON-RPC call: what failed inside the gateway
// as an error with its cause, the rest at debug. Nothing of the request is in
// it but ids; a method nobody knows is the client's own text and left out.
func Log(ctx context.Context, log *slog.Logger, method string, took time.Duration, err *errs.Error) {
	attrs := []slog.Attr{
		slog.String("request_id", jsonrpc.RequestID(ctx)),
		slog.String("key_id", From(ctx).Principal.KeyID),
		slog.Duration("took", took),
	}
	switch {
	case err == nil:
		log.LogAttrs(ctx, slog.LevelDebug, "call served", append(attrs, slog.String("method", method))...)
	case err.Code == errs.Internal:
		attrs = append(attrs, slog.String("method", method), slog.String("error", err.Error()))
		if p, ok := errors.AsType[*jsonrpc.PanicError](err); ok {
			attrs = append(attrs, slog.String("stack", string(p.Stack)))
		}
		log.LogAttrs(ctx, slog.LevelError, "call failed inside the gateway", attrs...)
	default:
		log.LogAttrs(ctx, slog.LevelDebug, "call refused", append(attrs, slog.String("code", string(err.Code)))...)
	}
}
