package socket

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/admit"
	"codexgateway.dev/services/edge/internal/call"
	"codexgateway.dev/services/edge/internal/hub"
	"codexgateway.dev/services/edge/internal/methods"
	"codexgateway.dev/services/edge/internal/streams"
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
	// WriteTimeout is how long a peer may take for one write, some thirty events
	// or one large message: 10 s, and a second more for each 64 KiB.
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

// Server serves connections. One Run, any number of connections.
type Server struct {
	mux      *jsonrpc.Mux
	svc      *methods.Service
	gate     *admit.Gate
	hub      *hub.Hub
	log      *slog.Logger
	opt      Options
	draining <-chan struct{}

	// ctx is the life of all connections; Run ends it.
	ctx    context.Context //nolint:containedctx // a connection outlives the request that opened it
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	conns   map[*conn]struct{}
	drained bool // every connection was told that the instance goes away
	stopped bool
	work    sync.WaitGroup
}

// New returns a server of the methods of svc and of its own; gate admits every
// call.
func New(svc *methods.Service, gate *admit.Gate, log *slog.Logger, opt Options) *Server {
	s := &Server{
		mux: jsonrpc.NewMux(), svc: svc, gate: gate, hub: svc.Hub, log: log, opt: opt.orDefaults(),
		draining: svc.Draining, conns: make(map[*conn]struct{}),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	svc.Register(s.mux)
	jsonrpc.Register(s.mux, apiv1.MethodJobSubscribe, jsonrpc.MethodDoc{
		Summary: "Sends every event of a job after a seq as job.event, until the job has ended. WebSocket only.", Scope: string(apikey.JobsRead),
	}, s.subscribe)
	jsonrpc.Register(s.mux, apiv1.MethodJobUnsubscribe, jsonrpc.MethodDoc{
		Summary: "Ends a subscription of this connection. WebSocket only.", Scope: string(apikey.JobsRead),
	}, s.unsubscribe)
	return s
}

// Mux is the table of everything a WebSocket serves: all methods there are.
func (s *Server) Mux() *jsonrpc.Mux { return s.mux }

// Run tells every connection when the instance goes away, and cuts those that
// are left when ctx ends; it returns when they are gone.
func (s *Server) Run(ctx context.Context) error {
	select {
	case <-s.draining:
		s.drain()
		<-ctx.Done()
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel(context.Cause(ctx))
	s.work.Wait()
	return nil
}

// drain begins the end of every connection, later ones included.
func (s *Server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drained = true
	for c := range s.conns {
		c.spawn(c.drain)
	}
}

// Serve upgrades the request. The connection is served on until it ends, by a
// goroutine of the server, so that nothing of the request stays in memory with
// it; then, or when there is no upgrade, the stream is closed. A connection whose
// stream is over is closed with 4501. The caller has authenticated the request
// and checked its origin.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, info *call.Info, stream *streams.Stream) {
	u := &upgrader{ResponseWriter: w, limit: s.opt.WriteTimeout}
	ws, err := websocket.Accept(u, r, &websocket.AcceptOptions{
		Subprotocols:       []string{Subprotocol},
		InsecureSkipVerify: true, // the origin is the caller's to check
		// A compression context is 1.2 MiB for each connection (measured), sixty
		// times what an idle one costs altogether; without one that is kept from
		// message to message an event of 360 bytes is still 244.
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		stream.Close()
		return // Accept has answered
	}
	ws.SetReadLimit(s.opt.ReadLimit)
	s.adopt(newConn(s, ws, u.wire, info), stream)
}

// adopt serves a connection.
func (s *Server) adopt(c *conn, stream *streams.Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		c.abandon()
		stream.Close()
		return
	}
	s.conns[c] = struct{}{}
	stream.WhenOver(func(why error) {
		c.stopAccepting()
		c.spawn(func() { c.shut(errs.CloseKeyRevoked, errs.From(why).Message()) })
	})
	s.work.Go(func() {
		defer stream.Close()
		c.run()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	})
	if s.drained {
		c.spawn(c.drain)
	}
}

var (
	// errPeer is why a connection ended that the peer or the network ended.
	errPeer  = errors.New("socket: the connection ended")
	errPanic = errors.New("socket: panic")
)
