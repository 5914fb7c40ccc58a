package origin

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// List is the origins that an operator lets in. The zero value lets none in.
type List struct {
	exact []string
	// below are origins whose host stands for every host below it.
	below []origin
}

// origin is scheme, host and port as a browser writes them: lower case, without
// a default port and with nothing after it (RFC 6454, section 6.2).
type origin struct{ scheme, host, port string }

func (o origin) String() string {
	if o.port != "" {
		return o.scheme + "://" + o.host + ":" + o.port
	}
	return o.scheme + "://" + o.host
}

// Parse reads origins such as https://app.example.com, http://localhost:3000 and
// https://*.example.com, which is every host below example.com but not itself.
// The error names everything wrong with them.
func Parse(list []string) (*List, error) {
	l := &List{}
	var problems []error
	for _, s := range list {
		s = strings.TrimSpace(s)
		text, wild := s, false
		if scheme, host, ok := strings.Cut(s, "://*."); ok {
			text, wild = scheme+"://"+host, true
		}
		o, ok := parse(strings.ToLower(text))
		switch {
		case s == "*":
			problems = append(problems, errors.New(`"*" would let every page in: list the origins`))
		case !ok:
			problems = append(problems, fmt.Errorf("%q is no origin: write scheme://host or scheme://host:port, with *. before the host for every host below it", s))
		case wild && !strings.Contains(o.host, "."):
			problems = append(problems, fmt.Errorf("%q would let a whole top-level domain in", s))
		case wild:
			l.below = append(l.below, o)
		default:
			l.exact = append(l.exact, o.String())
		}
	}
	return l, errors.Join(problems...)
}

// Empty reports whether the list lets nobody in.
func (l *List) Empty() bool { return len(l.exact) == 0 && len(l.below) == 0 }

// Allows reports whether the pages of an origin, as an Origin header names it,
// are let in.
func (l *List) Allows(header string) bool {
	o, ok := parse(header)
	if !ok || o.String() != header {
		return false // not as a browser writes it
	}
	if slices.Contains(l.exact, header) {
		return true
	}
	return slices.ContainsFunc(l.below, func(b origin) bool {
		return o.scheme == b.scheme && o.port == b.port && strings.HasSuffix(o.host, "."+b.host)
	})
}

// Same reports whether an Origin header names the server itself, which clients
// reach as host, the Host of a request. Secure says that they speak TLS with it;
// where that is not known, because a proxy does not tell, both schemes are its own.
func Same(header, host string, secure bool) bool {
	o, ok := parse(header)
	if !ok || o.String() != header || secure && o.scheme != "https" {
		return false
	}
	own, ok := parse(o.scheme + "://" + strings.ToLower(host))
	return ok && own == o
}

// Of returns the origin of a URL of http or https as a browser writes it; empty
// for anything else.
func Of(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	o, ok := parse(strings.ToLower(u.Scheme + "://" + u.Host))
	if !ok {
		return ""
	}
	return o.String()
}

// parse splits an origin of http or https; not ok is anything more or less.
func parse(s string) (origin, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Opaque != "" ||
		u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#") {
		return origin{}, false
	}
	o := origin{scheme: u.Scheme, host: u.Hostname(), port: u.Port()}
	if !validHost(o.host) || strings.HasSuffix(u.Host, ":") {
		return origin{}, false
	}
	if strings.Contains(o.host, ":") {
		o.host = "[" + o.host + "]"
	}
	if o.port != "" {
		n, err := strconv.ParseUint(o.port, 10, 16)
		if err != nil || n == 0 {
			return origin{}, false
		}
		o.port = strconv.FormatUint(n, 10)
	}
	if o.scheme == "http" && o.port == "80" || o.scheme == "https" && o.port == "443" {
		o.port = ""
	}
	return o, true
}

// validHost reports whether a host is a name or an address: browsers send names
// of other scripts in their ASCII form.
func validHost(host string) bool {
	for _, c := range []byte(host) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' && c != ':' {
			return false
		}
	}
	return host != "" && !strings.HasPrefix(host, ".") && !strings.Contains(host, "..")
}
