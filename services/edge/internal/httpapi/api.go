package httpapi

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/admit"
	"codexgateway.dev/services/edge/internal/attempts"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/hub"
	"codexgateway.dev/services/edge/internal/methods"
	"codexgateway.dev/services/edge/internal/origin"
	"codexgateway.dev/services/edge/internal/socket"
	"codexgateway.dev/services/edge/internal/streams"
)

// Options bound the routes; zero values are the documented defaults.
type Options struct {
	// PublicURL is the gateway as clients see it; empty: as the request says.
	PublicURL string
	// RPCBody is the largest body of /jsonrpc, ExecBody that of /exec: 8 MiB.
	// OtherBody is that of every other route: 16 KiB.
	RPCBody, ExecBody, OtherBody int64
	// Origins are those whose pages may use the gateway, besides its own; nil:
	// none.
	Origins *origin.List
	// Heartbeat is the pause after which an SSE stream sends a comment: 15 s.
	Heartbeat time.Duration
	// WriteTimeout is how long 64 KiB of an answer may take to be taken: 10 s.
	WriteTimeout time.Duration
	// BodyGrace is how long a body may come as it likes before it must keep up
	// 1 KiB/s: 10 s.
	BodyGrace time.Duration
}

func (o Options) orDefaults() Options {
	if o.Origins == nil {
		o.Origins = &origin.List{}
	}
	if o.RPCBody <= 0 {
		o.RPCBody = 8 << 20
	}
	if o.ExecBody <= 0 {
		o.ExecBody = 8 << 20
	}
	if o.OtherBody <= 0 {
		o.OtherBody = 16 << 10
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 10 * time.Second
	}
	if o.BodyGrace <= 0 {
		o.BodyGrace = 10 * time.Second
	}
	return o
}

// Deps is what the routes work on. Blobs, Guard and Proxies may be nil, all else
// is required.
type Deps struct {
	Methods *methods.Service
	Sockets *socket.Server
	Hub     *hub.Hub
	// Streams counts the WebSockets, event streams and long polls.
	Streams *streams.Set
	Auth    auth.Authenticator
	// Tickets makes them; Auth knows them.
	Tickets *auth.Tickets
	// Gate admits every call.
	Gate *admit.Gate
	// Guard counts failed authentications; Proxies say whose.
	Guard   *attempts.Guard
	Proxies attempts.Proxies
	Health  *chassis.Health
	// Blobs serves the signed URLs of a platform whose bucket does not.
	Blobs  http.Handler
	Logger *slog.Logger
}

// api is the routes.
type api struct {
	Deps

	opt    Options
	routes *http.ServeMux
	calls  *jsonrpc.Mux
	docs   documents
	// publicOrigin is the origin of the public URL, if there is one.
	publicOrigin string
	// compress wraps whole answers.
	compress func(http.Handler) http.HandlerFunc
}

// Handler builds the routes.
func Handler(d Deps, opt Options) (http.Handler, error) {
	a, err := build(d, opt)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(a.serve), nil
}

func build(d Deps, opt Options) (*api, error) {
	if d.Methods == nil || d.Sockets == nil || d.Hub == nil || d.Streams == nil || d.Auth == nil || d.Tickets == nil || d.Gate == nil || d.Health == nil || d.Logger == nil {
		return nil, errors.New("httpapi: Methods, Sockets, Hub, Streams, Auth, Tickets, Gate, Health and Logger are required")
	}
	a := &api{Deps: d, opt: opt.orDefaults(), publicOrigin: origin.Of(opt.PublicURL), calls: jsonrpc.NewMux()}
	d.Methods.Register(a.calls)
	var err error
	if a.compress, err = compressor(); err != nil {
		return nil, err
	}
	if err = a.describe(); err != nil {
		return nil, err
	}
	a.routes = a.mux()
	return a, nil
}
