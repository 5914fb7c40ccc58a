package httpapi

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// table is every route. Patterns name no method: with one, [http.ServeMux]
// would serve HEAD wherever there is GET, a stream included, and answer other
// methods in its own words.
func (a *api) table() *http.ServeMux {
	small := func(next http.HandlerFunc) http.HandlerFunc { return a.body(a.opt.OtherBody, next) }
	keyed := func(next http.HandlerFunc) http.HandlerFunc { return small(a.authenticate(next)) }
	var (
		read = []string{http.MethodGet, http.MethodHead}
		get  = []string{http.MethodGet}
		post = []string{http.MethodPost}
	)
	mux := http.NewServeMux()
	add := func(pattern string, methods []string, next http.HandlerFunc) {
		mux.HandleFunc(pattern, a.methods(methods, next))
	}
	add("/health", read, small(a.Health.Live().ServeHTTP))
	add("/ready", read, small(a.Health.Ready().ServeHTTP))
	add("/openrpc.json", read, small(a.serveOpenRPC))
	if a.Blobs != nil {
		add("/blobs", read, small(a.Blobs.ServeHTTP))
		add("/blobs/{key...}", read, small(a.Blobs.ServeHTTP))
	}
	add(routeRPC, post, a.body(a.opt.RPCBody, a.authenticate(a.serveRPC)))
	add("/ws", get, keyed(a.serveSocket))
	add("/v1/jobs/{id}/events", get, keyed(a.serveEvents))
	add("/v1/jobs/{id}/artifacts/{name}", get, keyed(a.serveArtifact))
	mux.HandleFunc("/", a.noRoute)
	return mux
}

// methods refuses what the route has not.
func (a *api) methods(has []string, next http.HandlerFunc) http.HandlerFunc {
	allow := strings.Join(has, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(has, r.Method) {
			w.Header().Set("Allow", allow)
			a.refuse(w, r, http.StatusMethodNotAllowed, errNoMethod)
			return
		}
		next(w, r)
	}
}

func (a *api) noRoute(w http.ResponseWriter, r *http.Request) {
	a.refuse(w, r, http.StatusNotFound, errNoRoute)
}

// route serves a request by its path, which is matched as it is: [http.ServeMux]
// would answer one it can tidy up with a redirect, which makes a GET of a POST
// in some clients and may lead to another host.
func (a *api) route(w http.ResponseWriter, r *http.Request) {
	u, ok := literal(r.URL)
	if !ok {
		a.noRoute(w, r)
		return
	}
	r.URL = u
	a.routes.ServeHTTP(w, r)
}

// literal returns a URL whose path [http.ServeMux] has nothing to tidy up in:
// split at its slashes, the encoded ones too, with dot segments as names like
// any other. Not ok is a path that no pattern matches: one with an empty
// segment, that of OPTIONS *, that of a CONNECT to a host.
func literal(u *url.URL) (*url.URL, bool) {
	if !strings.HasPrefix(u.Path, "/") || strings.Contains(u.Path, "//") {
		return nil, false
	}
	if u.RawPath == "" && path.Clean(u.Path) == strings.TrimSuffix(u.Path, "/") {
		return u, true
	}
	segments := strings.Split(u.Path, "/")
	for i, s := range segments {
		switch s {
		case ".", "..":
			segments[i] = strings.ReplaceAll(s, ".", "%2E")
		default:
			segments[i] = url.PathEscape(s)
		}
	}
	as := *u
	as.RawPath = strings.Join(segments, "/")
	return &as, true
}

func (a *api) serveOpenRPC(w http.ResponseWriter, r *http.Request) {
	a.respond(w, r, http.StatusOK, typeJSON, a.openrpc)
}
