package httpapi

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/gin-gonic/gin"

	"codexgateway.dev/services/edge/internal/call"
)

// serveSocket is GET /ws.
func (a *api) serveSocket(c *gin.Context) {
	r := c.Request
	switch {
	case !c.IsWebsocket():
		a.refuse(c, http.StatusUpgradeRequired, errNoUpgrade)
		return
	case !a.originAllowed(r):
		a.refuse(c, http.StatusForbidden, errOrigin)
		return
	}
	release, ok := a.Streams.Take()
	if !ok {
		a.fail(c, errStreams)
		return
	}
	a.Sockets.Serve(c.Writer, r, call.From(r.Context()), release)
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
