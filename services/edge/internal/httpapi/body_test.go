package httpapi_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestBodyThatStopsIsCutOnEveryPath: whatever a request is told, the server reads
// the rest of its body first, and had no deadline for it where no route wanted
// the body, or where the deadline had already passed once: one idle client held
// the connection for ever.
func TestBodyThatStopsIsCutOnEveryPath(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, head string
		status     int
	}{
		{"no route", "POST /nowhere HTTP/1.1\r\nHost: gw", http.StatusNotFound},
		{"no method", "PUT /jsonrpc HTTP/1.1\r\nHost: gw", http.StatusMethodNotAllowed},
		{"no media type", "POST /jsonrpc HTTP/1.1\r\nHost: gw", http.StatusUnsupportedMediaType},
		{"a body that is read", "POST /jsonrpc HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json", http.StatusRequestTimeout},
		{"a body that is dropped", "GET /health HTTP/1.1\r\nHost: gw", http.StatusRequestTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, open{})
				_, r := b.dial(tc.head + "\r\nContent-Length: 1000")
				began := time.Now()
				if got := status(t, r); got != tc.status {
					t.Errorf("status %d, want %d", got, tc.status)
				}
				_, _ = io.Copy(io.Discard, r) // until the connection ends, in whatever way
				if took := time.Since(began); took > 15*time.Second {
					t.Errorf("the connection was held for %s", took)
				}
			})
		})
	}
}
