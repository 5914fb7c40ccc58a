package httpapi

import (
	"encoding/base64"
	"errors"
	"net/http"

	"golang.org/x/net/http/httpguts"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/edge/internal/admit"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/call"
	"codexgateway.dev/services/edge/internal/streams"
)

const routeSocket = "/ws"

// serveSocket is GET /ws.
func (a *api) serveSocket(w http.ResponseWriter, r *http.Request) {
	status, bad := handshake(r)
	switch {
	case bad == errNoUpgrade:
		a.refuse(w, r, status, bad)
		return
	case !a.originAllowed(r):
		a.refuse(w, r, http.StatusForbidden, errOrigin)
		return
	case bad != nil:
		if bad == errVersion {
			w.Header().Set("Sec-WebSocket-Version", webSocketVersion)
		}
		a.refuse(w, r, status, bad)
		return
	}
	stream, ok := a.open(w, r)
	if !ok {
		return
	}
	a.Sockets.Serve(w, r, call.From(r.Context()), stream)
}

// open takes a place for a stream; not ok: it was answered. The request is no
// longer one of the calls in hand then.
func (a *api) open(w http.ResponseWriter, r *http.Request) (stream *streams.Stream, ok bool) {
	info := call.From(r.Context())
	stream, err := a.Streams.OpenAtMost(credential(&info.Principal), a.Gate.Streams(&info.Principal))
	switch {
	case errors.Is(err, streams.ErrKeyFull):
		a.fail(w, r, admit.Busy(admit.PolicyStreams, "Too many streams of this key are open."))
	case err != nil:
		a.fail(w, r, errStreams)
	}
	if err != nil {
		return nil, false
	}
	if info.Leave != nil {
		info.Leave()
	}
	return stream, true
}

// credential is what a stream of the principal lives on.
func credential(p *auth.Principal) streams.Credential {
	return streams.Credential{KeyID: p.KeyID, Secret: p.Secret, Expires: p.Expires}
}

const (
	webSocketVersion = "13"
	// webSocketKey is how many bytes a client's nonce has.
	webSocketKey = 16
)

// handshake checks a request for a WebSocket as RFC 6455, section 4.2.1, has it,
// before the library does: that answers in its own words, which repeat what the
// client sent.
func handshake(r *http.Request) (status int, bad *errs.Error) {
	h := r.Header
	asks := httpguts.HeaderValuesContainsToken(h["Connection"], "upgrade") && httpguts.HeaderValuesContainsToken(h["Upgrade"], "websocket")
	if !asks || !r.ProtoAtLeast(1, 1) {
		return http.StatusUpgradeRequired, errNoUpgrade
	}
	if v := h["Sec-Websocket-Version"]; len(v) != 1 || v[0] != webSocketVersion {
		return http.StatusUpgradeRequired, errVersion
	}
	if keys := h["Sec-Websocket-Key"]; len(keys) == 1 {
		if nonce, err := base64.StdEncoding.DecodeString(keys[0]); err == nil && len(nonce) == webSocketKey {
			return 0, nil
		}
	}
	return http.StatusBadRequest, errHandshake
}
