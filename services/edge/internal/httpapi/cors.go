package httpapi

import (
	"net/http"
	"time"

	"github.com/rs/cors"

	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/origin"
)

// preflightLife is how long a browser may remember what it may send.
const preflightLife = 10 * time.Minute

var (
	// askHeaders are what pages may send beside what every page may.
	askHeaders = []string{ //nolint:gochecknoglobals // a constant
		auth.HeaderAuthorization, auth.HeaderAPIKey, "Content-Type", "Idempotency-Key", "Last-Event-ID", headerRequestID,
	}
	// answerHeaders are what pages may read beside what every page may.
	answerHeaders = []string{ //nolint:gochecknoglobals // a constant
		"Idempotency-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After", headerJobID, headerRequestID,
	}
)

// crossOrigin lets pages of the listed origins, and of every origin where the
// route is public, call a route and read its answers. Browsers keep all others
// from it. Cookies have no part in it: a page shows its key or a ticket.
func (a *api) crossOrigin(row *route, next http.Handler) http.Handler {
	opt := cors.Options{
		AllowedMethods: row.methods, AllowedHeaders: askHeaders, ExposedHeaders: answerHeaders,
		MaxAge: int(preflightLife.Seconds()), OptionsPassthrough: true,
	}
	switch {
	case row.access == public:
		opt.AllowedOrigins, opt.AllowedHeaders = []string{"*"}, []string{headerRequestID}
	case row.pattern == routeSocket, a.opt.Origins.Empty():
		return next // browsers let every page try a WebSocket: its route asks by itself
	default:
		opt.AllowOriginFunc = a.opt.Origins.Allows
	}
	return cors.New(opt).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
			next.ServeHTTP(w, r)
			return
		}
		if w.Header().Get("Access-Control-Allow-Origin") == "" {
			a.refuse(w, r, http.StatusForbidden, errPreflight)
			return
		}
		a.respond(w, r, http.StatusNoContent, "", nil)
	}))
}

// originAllowed reports whether the page that asks, if it is one, may open a
// WebSocket: browsers let any page try.
func (a *api) originAllowed(r *http.Request) bool {
	switch origins := r.Header.Values("Origin"); {
	case len(origins) == 0:
		return true // no browser
	case len(origins) > 1:
		return false
	case a.opt.Origins.Allows(origins[0]):
		return true
	case a.opt.PublicURL != "":
		return origins[0] == a.publicOrigin
	default:
		return origin.Same(origins[0], r.Host, secure(r))
	}
}
