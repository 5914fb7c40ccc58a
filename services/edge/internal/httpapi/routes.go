package httpapi

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/services/edge/internal/apidoc"
)

// access says who may use a route.
type access int

const (
	// open is for everyone.
	open access = iota
	// public is open, and pages of every origin may read it.
	public
	// keyed is for whoever has a key.
	keyed
)

// route is one row of the table: what is served where, and what is asked before.
// The documents that describe the routes are made from it.
type route struct {
	// pattern has no method: with one, [http.ServeMux] would serve HEAD wherever
	// there is GET, a stream included, and answer other methods in its own words.
	pattern string
	methods []string
	access  access
	// scope is what a key needs; empty: any key. Calls of JSON-RPC, which need
	// one each, are admitted one by one.
	scope apikey.Scope
	// body is the largest body in bytes.
	body  int64
	serve http.HandlerFunc
	// doc says what the route is for: a row without it does not compile, one
	// that says nothing does not start.
	doc apidoc.Operation
}

var (
	read = []string{http.MethodGet, http.MethodHead} //nolint:gochecknoglobals // a constant
	get  = []string{http.MethodGet}                  //nolint:gochecknoglobals // a constant
	post = []string{http.MethodPost}                 //nolint:gochecknoglobals // a constant
)

// table is every route.
func (a *api) table() []route {
	small := a.opt.OtherBody
	rows := []route{
		{"/health", read, public, "", small, a.Health.Live().ServeHTTP, docHealth()},
		{"/ready", read, open, "", small, a.Health.Ready().ServeHTTP, docReady()},
		{"/openrpc.json", read, public, "", small, a.serveOpenRPC, docDocument("openrpc", "Describes the methods as OpenRPC 1.3.")},
		{"/openapi.json", read, public, "", small, a.serveOpenAPI, docDocument("openapi", "Describes the routes as OpenAPI 3.1: this document.")},
		{"/asyncapi.json", read, public, "", small, a.serveAsyncAPI, docDocument("asyncapi", "Describes the WebSocket and the event streams as AsyncAPI 3.0.")},
		{routeRPC, post, keyed, "", a.opt.RPCBody, a.serveRPC, docRPC()},
		{"/exec", post, keyed, apikey.JobsWrite, a.opt.ExecBody, a.serveExec, docExec()},
		{routeSocket, get, keyed, "", small, a.serveSocket, docSocket()},
		{routeEvents, get, keyed, apikey.JobsRead, small, a.serveEvents, docEvents()},
		{"/v1/jobs/{id}/artifacts/{name}", get, keyed, apikey.JobsRead, small, a.serveArtifact, docArtifact()},
		{"/v1/tickets", post, keyed, "", small, a.serveTicket, docTicket()},
	}
	if a.Blobs != nil {
		rows = append(rows, route{"/blobs", read, open, "", small, a.Blobs.ServeHTTP, docBlob()})
	}
	return rows
}

// mux serves the table.
func (a *api) mux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, row := range a.table() {
		serve := row.serve
		if row.access == keyed {
			if row.pattern != routeRPC { // whose calls are admitted one by one
				serve = a.admitted(row.scope, serve)
			}
			serve = a.authenticate(serve)
		}
		mux.Handle(row.pattern, a.crossOrigin(&row, a.methods(row.methods, a.body(row.body, serve))))
	}
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
