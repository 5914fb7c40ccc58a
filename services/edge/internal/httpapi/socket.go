package httpapi

import (
	"net/http"
	"strings"

	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/call"
	"codexgateway.dev/services/edge/internal/streams"
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
	info := call.From(r.Context())
	stream, ok := a.Streams.Open(credential(&info.Principal))
	if !ok {
		a.fail(w, r, errStreams)
		return
	}
	a.Sockets.Serve(w, r, info, stream)
}

// credential is what a stream of the principal lives on.
func credential(p *auth.Principal) streams.Credential {
	return streams.Credential{KeyID: p.KeyID, Secret: p.Secret, Expires: p.Expires}
}

// asksUpgrade reports whether a request is for a WebSocket.
func asksUpgrade(h http.Header) bool {
	return strings.Contains(strings.ToLower(h.Get("Connection")), "upgrade") && strings.EqualFold(h.Get("Upgrade"), "websocket")
}
