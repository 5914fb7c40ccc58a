package meter

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answer is a transport that answers every request alike.
type answer struct {
	status int
	err    error
}

func (a answer) RoundTrip(*http.Request) (*http.Response, error) {
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.status, Body: http.NoBody}, nil
}

func TestRequestsToCloudStorageByClass(t *testing.T) {
	t.Parallel()
	const object, upload = "/storage/v1/b/bucket/o/a%2Fb", "/upload/storage/v1/b/bucket/o?uploadType="
	for name, tc := range map[string]struct {
		method, path, body string
		answer             answer
		want               Counts
	}{
		"upload":            {http.MethodPost, upload + "multipart", "12345", answer{status: http.StatusOK}, Counts{BlobWrites: 1, BlobBytes: 5}},
		"begin of a large":  {http.MethodPost, upload + "resumable", "", answer{status: http.StatusOK}, Counts{BlobWrites: 1}},
		"chunk of a large":  {http.MethodPut, upload + "resumable&upload_id=1", "1234", answer{status: http.StatusPermanentRedirect}, Counts{BlobBytes: 4}},
		"refused upload":    {http.MethodPost, upload + "multipart", "", answer{status: http.StatusPreconditionFailed}, Counts{BlobWrites: 1}},
		"change":            {http.MethodPatch, object, "{}", answer{status: http.StatusOK}, Counts{BlobWrites: 1}},
		"copy":              {http.MethodPost, object + "/rewriteTo/b/bucket/o/c", "{}", answer{status: http.StatusOK}, Counts{BlobWrites: 1}},
		"list":              {http.MethodGet, "/storage/v1/b/bucket/o?prefix=x", "", answer{status: http.StatusOK}, Counts{BlobWrites: 1}},
		"attributes":        {http.MethodGet, object, "", answer{status: http.StatusOK}, Counts{BlobReads: 1}},
		"missing":           {http.MethodGet, object, "", answer{status: http.StatusNotFound}, Counts{BlobReads: 1}},
		"content":           {http.MethodGet, object + "?alt=media", "", answer{status: http.StatusPartialContent}, Counts{BlobReads: 1}},
		"delete":            {http.MethodDelete, object, "", answer{status: http.StatusNoContent}, Counts{}},
		"failed by service": {http.MethodPost, upload + "multipart", "12345", answer{status: http.StatusServiceUnavailable}, Counts{}},
		"no answer":         {http.MethodGet, object, "", answer{err: errors.New("reset")}, Counts{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m Meter
			r, err := http.NewRequestWithContext(t.Context(), tc.method, "https://storage.googleapis.com"+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := m.HTTP(tc.answer).RoundTrip(r)
			if !errors.Is(err, tc.answer.err) {
				t.Errorf("error %v", err)
			}
			if err == nil {
				_ = res.Body.Close()
			}
			if diff := cmp.Diff(tc.want, m.Counts()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
