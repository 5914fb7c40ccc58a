package meter

import (
	"net/http"
	"strings"
)

// HTTP counts the requests of a Cloud Storage client.
func (m *Meter) HTTP(next http.RoundTripper) http.RoundTripper {
	return &roundTripper{next: next, meter: m}
}

type roundTripper struct {
	next  http.RoundTripper
	meter *Meter
}

// RoundTrip implements http.RoundTripper.
func (t *roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(r)
	if err == nil && res.StatusCode < http.StatusInternalServerError {
		t.meter.request(r)
	}
	return res, err
}

// request counts one request of the JSON or XML API by its class. The chunks of
// a resumable upload (PUT on its session) belong to the POST that began it.
func (m *Meter) request(r *http.Request) {
	upload := strings.HasPrefix(r.URL.Path, "/upload/") || strings.HasPrefix(r.URL.Path, "/resumable/")
	list := strings.HasSuffix(r.URL.Path, "/o")
	m.add(func(c *Counts) {
		switch {
		case r.Method == http.MethodDelete:
			// free
		case r.Method == http.MethodPut && r.URL.Query().Get("upload_id") != "":
			c.BlobBytes += max(r.ContentLength, 0)
		case r.Method == http.MethodPost, r.Method == http.MethodPatch, r.Method == http.MethodPut, r.Method == http.MethodGet && list:
			c.BlobWrites++
			if upload {
				c.BlobBytes += max(r.ContentLength, 0)
			}
		default:
			c.BlobReads++
		}
	})
}
