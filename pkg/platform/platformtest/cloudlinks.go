package platformtest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"codexgateway.dev/pkg/platform"
)

// cloudURLs checks V4 signed URLs, which lead to the cloud itself and are called
// there. Each check has a name that a Baseline can list.
func cloudURLs(t *testing.T, p *platform.Platform, sign signer, known Baseline) {
	t.Helper()
	link := sign(blobName, http.MethodGet, linkLife)

	whole := fetch(t, p, http.MethodGet, link, nil)
	if whole.status != http.StatusOK || whole.body != blobText {
		t.Errorf("GET: %d %q", whole.status, whole.body)
	}
	if got := fetch(t, p, http.MethodGet, link, http.Header{"Range": {"bytes=2-4"}}); got.status != http.StatusPartialContent || got.body != "234" {
		t.Errorf("Range: %d %q", got.status, got.body)
	}
	if got := fetch(t, p, http.MethodGet, sign("jobs/job_1/missing", http.MethodGet, linkLife), nil); got.status != http.StatusNotFound {
		t.Errorf("signed but missing: %d", got.status)
	}

	refused := func(method, link string) bool {
		got := fetch(t, p, method, link, nil)
		return got.status >= 400 && got.status < 500 && !strings.Contains(got.body, blobText)
	}
	for _, check := range []struct {
		name  string
		holds func() bool
	}{
		{"a browser saves what the link gives", func() bool {
			return strings.HasPrefix(whole.header.Get("Content-Disposition"), "attachment")
		}},
		{"the content type is the blob's", func() bool { return whole.header.Get("Content-Type") == "text/html" }},
		{"signed for PUT", func() bool { return refused(http.MethodGet, sign(blobName, http.MethodPut, linkLife)) }},
		{"another blob", func() bool { return refused(http.MethodGet, otherPath(t, link, blobName, otherName)) }},
		{"a later expiry", func() bool { return refused(http.MethodGet, change(t, link, "X-Goog-Expires", "604800")) }},
		{"another disposition", func() bool {
			return refused(http.MethodGet, change(t, link, "response-content-disposition", "inline"))
		}},
		{"another signature", func() bool {
			return refused(http.MethodGet, change(t, link, "X-Goog-Signature", strings.Repeat("a", 512)))
		}},
		{"no signature", func() bool { return refused(http.MethodGet, strings.SplitN(link, "?", 2)[0]) }},
		{"expired", func() bool { return refused(http.MethodGet, expired(t, sign)) }},
		// Last: where it is obeyed, the other blob is gone.
		{"DELETE with a link for GET", func() bool {
			return refused(http.MethodDelete, sign(otherName, http.MethodGet, linkLife))
		}},
	} {
		reason, listed := known[check.name]
		switch held := check.holds(); {
		case !held && !listed:
			t.Errorf("%s: does not hold", check.name)
		case held && listed:
			t.Errorf("%s: holds, although it is listed as %q: take it off the list", check.name, reason)
		}
	}
}

// otherPath leads a link to another blob of the same bucket.
func otherPath(t *testing.T, link, from, to string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, from)+to, ""
	return u.String()
}
