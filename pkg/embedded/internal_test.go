package embedded

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/fileblob"
)

// FuzzSignedURL: no query opens a file but one that was signed.
func FuzzSignedURL(f *testing.F) {
	signer := fileblob.NewURLSignerHMAC(&url.URL{Path: blobsPath}, []byte("the key of the fuzz target"))
	h := &blobHandler{signer: signer}
	signed := func(key, method string) string {
		u, err := signer.URLFromKey(f.Context(), key, &driver.SignedURLOptions{Method: method, Expiry: 1000 * time.Hour})
		if err != nil {
			f.Fatal(err)
		}
		return u.RawQuery
	}
	const good = "jobs/x/diff.patch"
	f.Add(signed(good, http.MethodGet))
	f.Add(signed(good, http.MethodPut))
	f.Add(signed(good, http.MethodGet) + "&obj=..%2Fgateway.db")
	f.Add("obj=../gateway.db&expiry=99999999999&method=GET&signature=AAAA")
	f.Add("%zz")
	f.Fuzz(func(t *testing.T, query string) {
		key, ok := h.verify(&http.Request{URL: &url.URL{Path: blobsPath, RawQuery: query}})
		if ok && key != good {
			t.Errorf("%q opens %q", query, key)
		}
		if ok && !strings.Contains(query, "signature") {
			t.Errorf("%q opens %q without a signature", query, key)
		}
	})
}
