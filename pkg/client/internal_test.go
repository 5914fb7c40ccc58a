package client

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/jsonrpc"
)

func TestBackoffGrowsAndStaysBounded(t *testing.T) {
	t.Parallel()
	for attempt := range 200 {
		if d := backoff(attempt); d < backoffFirst/4 || d > backoffMax {
			t.Fatalf("backoff(%d) = %s", attempt, d)
		}
	}
	if d := backoff(1); d > backoffFirst {
		t.Errorf("backoff(1) = %s", d)
	}
}

func FuzzCloseHint(f *testing.F) {
	for _, s := range []string{"", "draining", `{"retry_after_ms":250}`, `{"retry_after_ms":-1}`, `{"retry_after_ms":1e300}`, `{"retry_after_ms":"x"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, reason string) {
		if d := closeHint(reason); d < 0 || d > maxRetryAfter {
			t.Errorf("closeHint(%q) = %s", reason, d)
		}
	})
}

func FuzzDecodeHTTPError(f *testing.F) {
	f.Add(503, "application/problem+json", "5", []byte(`{"title":"x","code":"overloaded","retryable":true}`))
	f.Add(401, "application/json; charset=utf-8", "", []byte(`{"jsonrpc":"2.0","id":null,"error":{"code":-32002,"message":"no"}}`))
	f.Add(502, "text/html", "1e99", []byte(`<html>`))
	f.Add(200, "application/json", "NaN", []byte(`[]`))
	f.Fuzz(func(t *testing.T, status int, media, after string, body []byte) {
		err := decodeHTTPError("op", status, http.Header{"Content-Type": {media}, "Retry-After": {after}}, body)
		var e *Error
		switch {
		case errors.As(err, &e):
			if e.Code == "" || e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter {
				t.Errorf("%+v", e)
			}
		case !errors.Is(err, ErrUnreachable):
			t.Errorf("neither an answer nor unreachable: %v", err)
		}
	})
}

func TestCloseHint(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]time.Duration{
		`{"retry_after_ms":250}`: 250 * time.Millisecond, "draining": 0, `{"retry_after_ms":-5}`: 0, `{"retry_after_ms":1e30}`: maxRetryAfter,
	} {
		if got := closeHint(reason); got != want {
			t.Errorf("closeHint(%q) = %s, want %s", reason, got, want)
		}
	}
}

// FuzzDecodeAnswer: what a server answers is a result or an error, never both and
// never a wait beyond the limit.
func FuzzDecodeAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"status":"ok"}}`, `{"jsonrpc":"2.0","id":2,"result":{}}`, `[]`, `{"jsonrpc":"2.0","method":"x"}`,
		`{"jsonrpc":"2.0","id":1,"error":{"code":-32006,"message":"m","data":{"code":"rate_limited","retryable":true,"retry_after_ms":1e300}}}`,
		`{"jsonrpc":"2.0","id":1,"error":{"code":0,"message":"","data":[]}}`,
	} {
		f.Add([]byte(seed), "5")
	}
	f.Fuzz(func(t *testing.T, raw []byte, retry string) {
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Retry-After": {retry}}}
		var pong apiv1.Pong
		err := decodeAnswer(apiv1.MethodSystemPing, jsonrpc.IntID(1), raw, resp, &pong)
		if e, ok := errors.AsType[*Error](err); ok && (e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter) {
			t.Errorf("%s asks to wait %s", raw, e.RetryAfter)
		}
	})
}
