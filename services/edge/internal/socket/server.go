package socket

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/call"
	"codexgateway.dev/services/edge/internal/hub"
	"codexgateway.dev/services/edge/internal/methods"
)

// Subprotocol is selected when the client offers it.
const Subprotocol = "codexgw.v1"

// Options bound a connection; zero values are the documented defaults.
type Options struct {
	// InFlight is how many frames are served at once; reading pauses at it: 32.
	InFlight int
	// Subscriptions is how many a connection may have: 100.
	Subscriptions int
	// ReadLimit is the largest message in bytes: 8 MiB.
	ReadLimit int64
	// WriteTimeout is how long one message may take to be taken by the peer: 10 s.
	WriteTimeout time.Duration
	// PingEvery and PongWait find peers that are gone: 25 s and 10 s.
	PingEvery, PongWait time.Duration
	// DrainWait is how long requests in flight may go on when the instance goes
	// away: 2 s.
	DrainWait time.Duration
}

func (o Options) orDefaults() Options {
	if o.InFlight <= 0 {
		o.InFlight = 32
	}
	if o.Subscriptions <= 0 {
		o.Subscriptions = 100
	}
	if o.ReadLimit <= 0 {
		o.ReadLimit = 8 << 20
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 10 * time.Second
	}
	if o.PingEvery <= 0 {
		o.PingEvery = 25 * time.Second
	}
	if o.PongWait <= 0 {
		o.PongWait = 10 * time.Second
	}
	if o.DrainWait <= 0 {
		o.DrainWait = 2 * time.Second
	}
	return o
}

// Server serves connections.
type Server struct {
	mux      *jsonrpc.Mux
	svc      *methods.Service
	hub      *hub.Hub
	log      *slog.Logger
	opt      Options
	draining <-chan struct{}

	mu   sync.Mutex
	open int
	idle chan struct{} // closed while nothing is open, see Wait
}

// New returns a server of the methods of svc and of its own.
func New(svc *methods.Service, log *slog.Logger, opt Options) *Server {
	s := &Server{
		mux: jsonrpc.NewMux(), svc: svc, hub: svc.Hub, log: log, opt: opt.orDefaults(),
		draining: svc.Draining, idle: make(chan struct{}),
	}
	close(s.idle)
	svc.Register(s.mux)
	jsonrpc.Register(s.mux, apiv1.MethodJobSubscribe, jsonrpc.MethodDoc{
		Summary: "Sends every event of a job after a seq as job.event, until the job has ended. WebSocket only.", Scope: "jobs:read",
	}, s.subscribe)
	jsonrpc.Register(s.mux, apiv1.MethodJobUnsubscribe, jsonrpc.MethodDoc{
		Summary: "Ends a subscription of this connection. WebSocket only.", Scope: "jobs:read",
	}, s.unsubscribe)
	return s
}

// Mux is the table of everything a WebSocket serves: all methods there are.
func (s *Server) Mux() *jsonrpc.Mux { return s.mux }

// Wait returns when no connection is open, or with the cause of ctx.
func (s *Server) Wait(ctx context.Context) error {
	s.mu.Lock()
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// count tracks open connections for Wait.
func (s *Server) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == 0 {
		s.idle = make(chan struct{})
	}
	s.open += n
	if s.open == 0 {
		close(s.idle)
	}
}

// Serve upgrades the request and serves the connection until it ends. The
// caller has authenticated the request and checked its origin.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, info *call.Info) {
	s.count(1)
	defer s.count(-1)
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       []string{Subprotocol},
		InsecureSkipVerify: true, // the origin is the caller's to check
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return // Accept has answered
	}
	ws.SetReadLimit(s.opt.ReadLimit)
	newConn(r.Context(), s, ws, info).run() //nolint:contextcheck // the connection keeps its context
}

// errPeer is why a connection ended that the peer or the network ended.
var errPeer = errors.New("socket: the connection ended")
