package httpapi

import (
	"net/http"
	"strings"

	"codexgateway.dev/services/edge/internal/call"
)

const routeSocket = "/ws"

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
