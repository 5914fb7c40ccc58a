package httpapi

import (
	"encoding/base64"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"codexgateway.dev/pkg/errs"
)

// FuzzAccepted: whatever a client accepts, it gets a form there is, or none.
func FuzzAccepted(f *testing.F) {
	for _, seed := range []string{
		"", "*/*", "text/event-stream", "application/x-ndjson;q=0.5, application/json", "text/*;q=0", "application/json;q=0, */*;q=0.1",
		";q=1", "a/b/c", ",,,", "text/event-stream;q=NaN", "text/event-stream;q=1e309, */*;q=-1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		form := accepted(http.Header{"Accept": {accept}})
		if _, stream := formats[form]; form != "" && form != typeJSON && !stream {
			t.Errorf("%q gets %q", accept, form)
		}
		if accept == "" && form != typeJSON {
			t.Error("no wish gets no JSON")
		}
	})
}

// FuzzWholeNumber: a number that is taken is within its bound, one that is not
// says which parameter is wrong.
func FuzzWholeNumber(f *testing.F) {
	for _, seed := range []string{"", "after=5", "after=-1", "after=1&after=2", "after=9007199254740993", "after=%zz", "after=1;wait=2", "wait=0x1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return // refused before
		}
		const most = 1 << 53
		n, err := wholeNumber(q, "after", most)
		switch {
		case err == nil && (n < 0 || n > most):
			t.Errorf("%q gives %d", query, n)
		case err != nil && errs.CodeOf(err) != errs.InvalidParams:
			t.Errorf("%q fails with %v", query, err)
		case n != 0 && len(q["after"]) != 1:
			t.Errorf("%q gives %d", query, n)
		}
	})
}

// FuzzMediaType: what passes for JSON is JSON in UTF-8 to any reader.
func FuzzMediaType(f *testing.F) {
	for _, seed := range [][2]string{
		{"application/json", ""},
		{"application/json; charset=UTF-8", "identity"},
		{"application/json-rpc", "gzip"},
		{"text/plain", ""},
		{"application/json; charset=\"utf-8\"; a=b", ""},
		{"application/json; charset*0=ut; charset*1=f-8", ""},
		{"application/json;;", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, contentType, coding string) {
		if !isJSON(http.Header{"Content-Type": {contentType}, "Content-Encoding": {coding}}) {
			return
		}
		media, params, err := mime.ParseMediaType(contentType)
		charset, given := params["charset"]
		if err != nil || !strings.HasPrefix(media, "application/json") || given && !strings.EqualFold(charset, "utf-8") || coding != "" && !strings.EqualFold(coding, "identity") {
			t.Errorf("%q with %q passes", contentType, coding)
		}
	})
}

// FuzzLiteral: no path that goes to the mux makes it redirect, and what a pattern
// finds in it is what the client sent.
func FuzzLiteral(f *testing.F) {
	for _, seed := range []string{
		"/", "/v1/jobs/a/events", "/v1/jobs/../events", "/v1/jobs/%2e%2e/events", "/v1/jobs/a%2fb/events", "//evil.example/x", "/v1//jobs", "*",
		"/v1/jobs/./events", "/v1/jobs/a/events/", "/%00", "/\xff", "/v1\\jobs",
	} {
		f.Add(seed)
	}
	mux := http.NewServeMux()
	var got string
	mux.HandleFunc("/v1/jobs/{id}/events", func(_ http.ResponseWriter, r *http.Request) { got = r.PathValue("id") })
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		as, ok := literal(u)
		if !ok {
			return
		}
		got = ""
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: as, Host: "gw.example"})
		if w.Code != http.StatusOK {
			t.Errorf("%q is answered %d to %q", target, w.Code, w.Header().Get("Location"))
		}
		if got != "" && u.Path != "/v1/jobs/"+got+"/events" {
			t.Errorf("%q has the id %q", target, got)
		}
	})
}

// FuzzHandshake: what is let through is a handshake the library takes.
func FuzzHandshake(f *testing.F) {
	f.Add("Upgrade", "websocket", "13", "dGhlIHNhbXBsZSBub25jZQ==")
	f.Add("keep-alive, upgrade", "h2c, WebSocket", "13", "AAAAAAAAAAAAAAAAAAAAAA==")
	f.Add("no-upgrade", "websocket2", "8", "YWJj")
	f.Add(",,", "", "", "\r\n")
	f.Fuzz(func(t *testing.T, connection, upgrade, version, key string) {
		r := &http.Request{ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{
			"Connection": {connection}, "Upgrade": {upgrade}, "Sec-Websocket-Version": {version}, "Sec-Websocket-Key": {key},
		}}
		status, bad := handshake(r)
		if bad != nil {
			if status < 400 || status >= 500 {
				t.Errorf("refused with %d", status)
			}
			return
		}
		nonce, err := base64.StdEncoding.DecodeString(key)
		if err != nil || len(nonce) != 16 || version != "13" || !strings.Contains(strings.ToLower(connection), "upgrade") {
			t.Errorf("%q %q %q %q is let through", connection, upgrade, version, key)
		}
	})
}
