package httpapi

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"codexgateway.dev/services/edge/internal/call"
)

// serveSocket is GET /ws.
func (a *api) serveSocket(w http.ResponseWriter, r *http.Request) {
	switch {
	case !asksUpgrade(r.Header):
		a.refuse(w, r, http.StatusUpgradeRequired, errNoUpgrade)
		return
	case !a.originAllowed(r):
		a.refuse(w, r, http.StatusForbidden, errOrigin)
		return
	}
	release, ok := a.Streams.Take()
	if !ok {
		a.fail(w, r, errStreams)
		return
	}
	a.Sockets.Serve(w, r, call.From(r.Context()), release)
}

// asksUpgrade reports whether a request is for a WebSocket.
func asksUpgrade(h http.Header) bool {
	return strings.Contains(strings.ToLower(h.Get("Connection")), "upgrade") && strings.EqualFold(h.Get("Upgrade"), "websocket")
}

// originAllowed reports whether the page that asks, if it is one, may open a
// WebSocket: browsers let any page try.
func (a *api) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // no browser
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if strings.EqualFold(u.Host, r.Host) {
		return true
	}
	for _, pattern := range a.opt.Origins {
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(u.Host)); ok && err == nil {
			return true
		}
	}
	return false
}
