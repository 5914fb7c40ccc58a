package origin_test

import (
	"strings"
	"testing"

	"codexgateway.dev/services/edge/internal/origin"
)

func TestOnlyListedOriginsAreAllowed(t *testing.T) {
	t.Parallel()
	l, err := origin.Parse([]string{"https://app.example.com", "HTTP://LocalHost:3000", " https://*.pages.example ", "https://tls.example:443", "http://[::1]:8080", "https://*.deep.example:8443"})
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]bool{
		"https://app.example.com":      true,
		"http://localhost:3000":        true,
		"https://a.pages.example":      true,
		"https://a.b.pages.example":    true,
		"https://tls.example":          true,
		"http://[::1]:8080":            true,
		"https://a.deep.example:8443":  true,
		"":                             false,
		"null":                         false,
		"*":                            false,
		"https://":                     false,
		"app.example.com":              false,
		"http://app.example.com":       false, // another scheme
		"https://app.example.com:8443": false, // another port
		"https://app.example.com:443":  false, // no browser writes it so
		"https://app.example.com:":     false,
		"https://app.example.com/":     false,
		"https://app.example.com?":     false,
		"https://app.example.com#":     false,
		"https://App.example.com":      false,
		"https://app.example.com.evil": false,
		"https://evil-app.example.com": false,
		"https://app.example.com@evil": false,
		"https://x@app.example.com":    false,
		"https://pages.example":        false, // itself is not below itself
		"https://.pages.example":       false,
		"https://evilpages.example":    false,
		"http://a.pages.example":       false,
		"https://a.pages.example:8443": false,
		"https://a.deep.example":       false,
		"https://evil/.pages.example":  false,
		"https://tls.example:0443":     false,
		"https://a.example,null":       false,
		"chrome-extension://abcdefghi": false,
		"file://":                      false,
		"ws://app.example.com":         false,
		"https://app.example.com\x00":  false,
		"https://ÄPP.pages.example":    false,
	} {
		if got := l.Allows(header); got != want {
			t.Errorf("%q: allowed %t, want %t", header, got, want)
		}
	}
	if (&origin.List{}).Allows("https://app.example.com") {
		t.Error("an empty list lets somebody in")
	}
}

func TestWrongListsAreRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	bad := []string{"*", "https://*", "https://*.com", "null", "example.com", "https://a.example/path", "https://u@a.example", "ftp://a.example", "https://a.*.example", "https://*.*.example.com", "https://a.example:0", "https://a.example:99999", ""}
	_, err := origin.Parse(append([]string{"https://good.example"}, bad...))
	if err == nil {
		t.Fatal("taken")
	}
	if got := strings.Count(err.Error(), "\n") + 1; got != len(bad) {
		t.Errorf("%d problems, want %d:\n%v", got, len(bad), err)
	}
}

func TestTheGatewaysOwnPages(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		header, host string
		secure, want bool
	}{
		{"http://gw.example:8080", "gw.example:8080", false, true},
		{"http://gw.example", "gw.example:80", false, true},
		{"https://gw.example", "GW.example", true, true},
		{"https://gw.example", "gw.example:443", true, true},
		{"https://gw.example", "gw.example", false, true}, // behind a proxy that does not tell
		{"http://gw.example", "gw.example", true, false},  // a page that was not protected
		{"http://gw.example:8080", "gw.example", false, false},
		{"http://gw.example", "gw.example:8080", false, false},
		{"http://other.example", "gw.example", false, false},
		{"null", "gw.example", false, false},
		{"http://gw.example", "", false, false},
		{"http://gw.example", "gw.example/x", false, false},
		{"http://x@gw.example", "x@gw.example", false, false},
	} {
		if got := origin.Same(tc.header, tc.host, tc.secure); got != tc.want {
			t.Errorf("%q at %q, secure %t: %t, want %t", tc.header, tc.host, tc.secure, got, tc.want)
		}
	}
}

// FuzzAllows: what is let in is an origin of the list, letter by letter.
func FuzzAllows(f *testing.F) {
	l, err := origin.Parse([]string{"https://app.example.com", "https://*.pages.example"})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"https://app.example.com", "https://a.pages.example", "null", "https://a@b.pages.example", "https://[::1].pages.example", "https://a.pages.example:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if !l.Allows(header) || header == "https://app.example.com" {
			return
		}
		host, ok := strings.CutSuffix(strings.TrimPrefix(header, "https://"), ".pages.example")
		if !ok || host == "" || !strings.HasPrefix(header, "https://") || strings.ContainsAny(host, "/@?#\\ \x00") {
			t.Errorf("%q is let in", header)
		}
	})
}
