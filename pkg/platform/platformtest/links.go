package platformtest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob"

	"codexgateway.dev/pkg/platform"
)

const (
	blobName, blobText = `jobs/job_1/a "b" ä.txt`, "0123456789"
	otherName          = "jobs/job_2/other"
)

// linkLife is that of links that must not expire while they are tried.
const linkLife = time.Hour

// signer makes a link to a blob.
type signer = func(name, method string, expiry time.Duration) string

func signedURLs(t *testing.T, open Open, known Baseline) {
	t.Helper()
	p := opened(t, open)
	for _, name := range []string{blobName, otherName} {
		if err := p.WriteBlob(t.Context(), name, []byte(blobText), "text/html"); err != nil {
			t.Fatalf("write: %v", err)
		}
	}
	sign := func(name, method string, expiry time.Duration) string {
		t.Helper()
		u, err := p.Blobs.SignedURL(t.Context(), name, &blob.SignedURLOptions{Method: method, Expiry: expiry})
		if err != nil {
			t.Fatalf("sign: %v", err)
		}
		return u
	}
	if p.BlobHandler == nil {
		cloudURLs(t, p, sign, known)
		return
	}
	ownURLs(t, p, sign)
}

// ownURLs checks links that lead to the gateway itself.
func ownURLs(t *testing.T, p *platform.Platform, sign signer) {
	t.Helper()
	link := sign(blobName, http.MethodGet, linkLife)

	served(t, p, link)
	missing := fetch(t, p, http.MethodGet, sign("jobs/job_1/missing", http.MethodGet, linkLife), nil)
	if missing.status != http.StatusNotFound || !missing.isProblem() {
		t.Errorf("signed but missing: %d %s", missing.status, missing.body)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		got := fetch(t, p, method, link, nil)
		if got.status != http.StatusMethodNotAllowed || !got.isProblem() || got.header.Get("Allow") == "" {
			t.Errorf("%s: %d %s", method, got.status, got.body)
		}
	}
	for name, refused := range map[string]string{
		"signed for PUT":          sign(blobName, http.MethodPut, linkLife),
		"signed for DELETE":       sign(blobName, http.MethodDelete, linkLife),
		"another blob":            change(t, link, "obj", otherName),
		"a later expiry":          change(t, link, "expiry", "99999999999"),
		"no expiry":               change(t, link, "expiry", ""),
		"another signature":       change(t, link, "signature", strings.Repeat("A", 43)),
		"no signature":            change(t, link, "signature", ""),
		"PUT turned into GET":     change(t, sign(blobName, http.MethodPut, linkLife), "method", http.MethodGet),
		"a second blob behind":    link + "&obj=" + otherName,
		"a second blob in front":  strings.Replace(link, "?", "?obj="+otherName+"&", 1),
		"a broken query":          link + "&%zz",
		"nothing":                 strings.SplitN(link, "?", 2)[0],
		"a path instead of a key": strings.SplitN(link, "?", 2)[0] + "/../../gateway.db",
		"expired":                 expired(t, sign),
	} {
		got := fetch(t, p, http.MethodGet, refused, nil)
		if got.status != http.StatusForbidden || !got.isProblem() || strings.Contains(got.body, blobText) {
			t.Errorf("%s: %d %s, want 403", name, got.status, got.body)
		}
	}
}

// served checks whole, ranged and bodyless answers and their headers.
func served(t *testing.T, p *platform.Platform, link string) {
	t.Helper()
	got := fetch(t, p, http.MethodGet, link, nil)
	if got.status != http.StatusOK || got.body != blobText {
		t.Errorf("GET: %d %q", got.status, got.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html", "X-Content-Type-Options": "nosniff", "Content-Length": "10", "Accept-Ranges": "bytes",
	} {
		if v := got.header.Get(name); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	if v := got.header.Get("Content-Disposition"); !strings.HasPrefix(v, "attachment") {
		t.Errorf("Content-Disposition is %q, want attachment", v)
	}
	if got := fetch(t, p, http.MethodHead, link, nil); got.status != http.StatusOK || got.body != "" || got.header.Get("Content-Length") != "10" {
		t.Errorf("HEAD: %d %q", got.status, got.body)
	}
	for spec, want := range map[string]struct {
		status int
		body   string
	}{
		"bytes=2-4": {http.StatusPartialContent, "234"},
		"bytes=7-":  {http.StatusPartialContent, "789"},
		"bytes=-2":  {http.StatusPartialContent, "89"},
		"bytes=10-": {http.StatusRequestedRangeNotSatisfiable, ""},
	} {
		got := fetch(t, p, http.MethodGet, link, http.Header{"Range": {spec}})
		if got.status != want.status || (want.body != "" && got.body != want.body) {
			t.Errorf("Range %s: %d %q, want %d %q", spec, got.status, got.body, want.status, want.body)
		}
	}
}

// change replaces one parameter of a link; empty removes it.
func change(t *testing.T, link, name, value string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	if value == "" {
		q.Del(name)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// expired returns a link of which the time has passed. Links count in whole
// seconds of the system's clock, so one is waited for.
func expired(t *testing.T, sign signer) string {
	t.Helper()
	link := sign(blobName, http.MethodGet, time.Nanosecond)
	next := time.Now().Truncate(time.Second).Add(time.Second)
	select {
	case <-time.After(time.Until(next) + 10*time.Millisecond):
	case <-t.Context().Done():
	}
	return link
}
