package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"codexgateway.dev/services/edge/internal/hub"
	"codexgateway.dev/services/edge/internal/streams"
)

// streamBuffer is how much of a batch is written at once.
const streamBuffer = 32 << 10

// format is how a stream writes events.
type format struct {
	mediaType string
	// opening is sent with the status; empty: nothing is.
	opening []byte
	event   func(b []byte, seq int64, raw json.RawMessage) []byte
	// heartbeat is sent in silence; nil: nothing is.
	heartbeat []byte
	// farewell is sent when the stream ends before the log and the client shall
	// come back; nil: the stream is cut instead.
	farewell func() []byte
	// whole reports at the end of the log whether the client can tell that it is;
	// nil: it always can.
	whole func() bool
}

var formats = map[string]format{
	typeSSE: {
		mediaType: typeSSE,
		event: func(b []byte, seq int64, raw json.RawMessage) []byte {
			b = append(b, "id: "...)
			b = strconv.AppendInt(b, seq, 10)
			b = append(b, "\ndata: "...)
			b = append(b, raw...) // stored events are one line of JSON
			return append(b, "\n\n"...)
		},
		heartbeat: []byte(": heartbeat\n\n"),
		farewell: func() []byte {
			return fmt.Appendf(nil, "retry: %d\n\n", streams.RetryAfter().Milliseconds())
		},
	},
	typeNDJSON: {
		mediaType: typeNDJSON,
		event: func(b []byte, _ int64, raw json.RawMessage) []byte {
			return append(append(b, raw...), '\n')
		},
	},
}

// stream writes events until the log ends, the client leaves or is too slow, its
// credential ends, or the instance goes away. The status is sent at once, so that a client knows that it watches.
func (a *api) stream(ctx context.Context, w http.ResponseWriter, f *format, events *hub.Watcher) {
	h := w.Header()
	h.Set("Content-Type", f.mediaType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	buf := make([]byte, 0, streamBuffer)
	_, err := w.Write(f.opening)
	if err == nil {
		err = rc.Flush()
	}
	for err == nil {
		var b hub.Batch
		b, err = next(ctx, events, a.opt.Heartbeat, len(f.heartbeat) > 0)
		switch {
		case errors.Is(err, errHeartbeat):
			_, err = w.Write(f.heartbeat)
		case errors.Is(err, streams.ErrDraining), errors.Is(err, hub.ErrStopped), errors.Is(err, hub.ErrSlow):
			if f.farewell != nil {
				_, _ = w.Write(f.farewell()) // the end of the stream says the rest
				return
			}
		case err != nil:
			a.broken(ctx, err)
		default:
			err = writeBatch(w, f, &buf, &b)
		}
		if err == nil {
			err = rc.Flush()
		}
		if b.Closed {
			if f.whole == nil || f.whole() {
				return
			}
			break
		}
	}
	// Cut: the client must not take this for the end of the log. One whose
	// credential has ended is told why when it comes back.
	panic(http.ErrAbortHandler)
}

// next waits for events, but no longer than a heartbeat's pause where there are
// heartbeats.
func next(ctx context.Context, events *hub.Watcher, pause time.Duration, heartbeat bool) (hub.Batch, error) {
	if heartbeat {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, pause, errHeartbeat)
		defer cancel()
	}
	return events.Next(ctx)
}

// writeBatch writes a batch in pieces; buf is reused and left empty.
func writeBatch(w http.ResponseWriter, f *format, buf *[]byte, b *hub.Batch) error {
	for i, raw := range b.Events {
		*buf = f.event(*buf, b.First+int64(i), raw)
		if len(*buf) < streamBuffer && i < len(b.Events)-1 {
			continue
		}
		if _, err := w.Write(*buf); err != nil {
			return err
		}
		if cap(*buf) > 4*streamBuffer {
			*buf = make([]byte, 0, streamBuffer) // one large event must not stay in memory
		}
		*buf = (*buf)[:0]
	}
	return nil
}

// broken logs a stream that ends because the log cannot be read.
func (a *api) broken(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // the client left
	}
	a.Logger.LogAttrs(ctx, slog.LevelWarn, "stream ended, the log cannot be read",
		slog.String("request_id", requestID(ctx)), slog.String("error", err.Error()))
}
