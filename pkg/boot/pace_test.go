package boot

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// deadlines is a response writer that remembers the read deadlines.
type deadlines struct {
	*httptest.ResponseRecorder

	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

func TestABodyHasADeadlineThatEndsWithIt(t *testing.T) {
	t.Parallel()
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	paced(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if len(w.set) != 1 || time.Until(w.set[0]) > bodyTimeout || time.Until(w.set[0]) < bodyTimeout/2 {
			t.Errorf("before the body: %v", w.set)
		}
		if raw, err := io.ReadAll(r.Body); err != nil || string(raw) != "body" {
			t.Errorf("%q, %v", raw, err)
		}
		if len(w.set) != 2 || !w.set[1].IsZero() {
			t.Errorf("after the body: %v", w.set)
		}
	})).ServeHTTP(w, request(t.Context(), "body"))
}

func TestARequestWithoutABodyHasNoDeadline(t *testing.T) {
	t.Parallel()
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	paced(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, request(t.Context(), ""))
	if len(w.set) != 0 {
		t.Errorf("%v", w.set)
	}
}

func request(ctx context.Context, body string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/push/x", http.NoBody)
	r.ContentLength = int64(len(body))
	if body != "" {
		r.Body = io.NopCloser(&slow{body})
	}
	return r
}

// slow gives its text byte by byte.
type slow struct{ left string }

func (s *slow) Read(p []byte) (int, error) {
	if s.left == "" {
		return 0, io.EOF
	}
	n := copy(p[:1], s.left)
	s.left = s.left[n:]
	return n, nil
}
