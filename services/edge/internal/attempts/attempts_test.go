package attempts_test

import (
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"codexgateway.dev/services/edge/internal/attempts"
)

func shows(key string) http.Header { return http.Header{"X-Api-Key": {key}} }

func TestAnAddressFailsAFewTimes(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	g, err := attempts.New(20, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	attacker, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	g.Passed(shows("good"))
	for i := range 20 {
		if _, over := g.Over(attacker, shows("guess")); over {
			t.Fatalf("refused after %d failures", i)
		}
		g.Failed(attacker, http.Header{}) // shows nothing, guesses nothing
		g.Failed(attacker, shows("guess"))
	}
	for name, tc := range map[string]struct {
		from netip.Addr
		h    http.Header
		over bool
	}{
		"the address":                            {attacker, shows("guess 21"), true},
		"a key that was good":                    {attacker, shows("good"), false},
		"a good key in another header":           {attacker, http.Header{"Authorization": {"good"}}, true},
		"who shows nothing":                      {attacker, http.Header{}, false},
		"another address":                        {other, shows("guess"), false},
		"the address as it looks in IPv6":        {netip.MustParseAddr("::ffff:192.0.2.1").Unmap(), shows("x"), true},
		"an address that is none, seen never so": {netip.Addr{}, shows("x"), false},
	} {
		if after, over := g.Over(tc.from, tc.h); over != tc.over || over && after != 3*time.Second {
			t.Errorf("%s: %t, after %s", name, over, after)
		}
	}
	now = now.Add(3 * time.Second)
	if _, over := g.Over(attacker, shows("guess")); over {
		t.Error("refused after the time that was said")
	}
}

func TestAnIPv6SiteIsOneAddress(t *testing.T) {
	t.Parallel()
	g, err := attempts.New(5, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		g.Failed(netip.MustParseAddr("2001:db8:0:1::"+strconv.Itoa(i+1)), shows("guess"))
	}
	if _, over := g.Over(netip.MustParseAddr("2001:db8:0:1:ffff::1"), shows("guess")); !over {
		t.Error("another address of the site is not refused")
	}
	if _, over := g.Over(netip.MustParseAddr("2001:db8:0:2::1"), shows("guess")); over {
		t.Error("another site is refused")
	}
}

func TestWithoutALimitNobodyIsRefused(t *testing.T) {
	t.Parallel()
	g, err := attempts.New(0, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		g.Failed(netip.Addr{}, shows("guess"))
		g.Passed(shows("good"))
		if _, over := g.Over(netip.Addr{}, shows("guess")); over {
			t.Fatal("refused")
		}
	}
}

func TestTheClientIsWhoTheTrustedProxySaysItIs(t *testing.T) {
	t.Parallel()
	proxies, err := attempts.ParseProxies([]string{"10.0.0.0/8", " 192.0.2.7", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"no proxy":                          {"198.51.100.1:80", nil, "198.51.100.1"},
		"a client that names another":       {"198.51.100.1:80", []string{"203.0.113.9"}, "198.51.100.1"},
		"a proxy":                           {"10.1.2.3:80", []string{"203.0.113.9"}, "203.0.113.9"},
		"a proxy and what its client wrote": {"10.1.2.3:80", []string{"1.1.1.1, 203.0.113.9"}, "203.0.113.9"},
		"two lines":                         {"10.1.2.3:80", []string{"1.1.1.1", "203.0.113.9"}, "203.0.113.9"},
		"two proxies":                       {"192.0.2.7:80", []string{"203.0.113.9,10.9.9.9"}, "203.0.113.9"},
		"a proxy that says nothing":         {"10.1.2.3:80", nil, "10.1.2.3"},
		"a proxy and nonsense":              {"10.1.2.3:80", []string{"203.0.113.9, unknown"}, "10.1.2.3"},
		"IPv6":                              {"[2001:db8::1]:80", []string{"2001:db9::5"}, "2001:db9::5"},
		"IPv4 in IPv6":                      {"[::ffff:10.1.2.3]:80", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		"no address":                        {"pipe", []string{"203.0.113.9"}, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: tc.peer, Header: http.Header{"X-Forwarded-For": tc.forwarded}}
		if got := proxies.Client(r).String(); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
	for _, s := range []string{"", "10.0.0.0/33", "proxy.example.com", "10.0.0.0/8/8"} {
		if _, err := attempts.ParseProxies([]string{s}); err == nil {
			t.Errorf("%q is taken for a network", s)
		}
	}
}
