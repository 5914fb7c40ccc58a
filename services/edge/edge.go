package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"golang.org/x/net/netutil"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/ratelimit"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/pkg/ticket"
	"codexgateway.dev/services/edge/internal/admit"
	"codexgateway.dev/services/edge/internal/attempts"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/httpapi"
	"codexgateway.dev/services/edge/internal/hub"
	"codexgateway.dev/services/edge/internal/issuers"
	"codexgateway.dev/services/edge/internal/keyring"
	"codexgateway.dev/services/edge/internal/methods"
	"codexgateway.dev/services/edge/internal/origin"
	"codexgateway.dev/services/edge/internal/socket"
	"codexgateway.dev/services/edge/internal/streams"
)

// Deps is what the edge works on. All but BlobHandler are required.
type Deps struct {
	Jobs *job.Store
	// Docs holds what the edge itself keeps, keys and limits.
	Docs *docstore.Store
	Bus  *bus.Bus
	// Secrets holds what keys are checked with.
	Secrets *secret.Secrets
	// Blobs holds the artifacts; the edge signs URLs to them.
	Blobs *blob.Bucket
	// BlobHandler serves those URLs under /blobs where the bucket does not.
	BlobHandler http.Handler
	// Listener is used instead of opening Config.Listen; nil: it is opened. The
	// edge closes it.
	Listener net.Listener
	// Health gets the checks of the platform before Run; the edge adds its own
	// and says when it serves and when it drains.
	Health *chassis.Health
	Logger *slog.Logger
	Now    func() time.Time
	// Version of the gateway, for system.ping and rpc.discover.
	Version string
}

// missing names the required dependencies that are not there.
func (d *Deps) missing() []string {
	var names []string
	for _, dep := range []struct {
		name  string
		there bool
	}{
		{"Jobs", d.Jobs != nil},
		{"Docs", d.Docs != nil},
		{"Bus", d.Bus != nil},
		{"Secrets", d.Secrets != nil},
		{"Blobs", d.Blobs != nil},
		{"Health", d.Health != nil},
		{"Logger", d.Logger != nil},
		{"Now", d.Now != nil},
		{"Version", d.Version != ""},
	} {
		if !dep.there {
			names = append(names, dep.name)
		}
	}
	return names
}

// Service is one edge instance.
type Service struct {
	cfg     Config
	deps    Deps
	hub     *hub.Hub
	sockets *socket.Server
	streams *streams.Set
	issuers *issuers.Set
	limits  *ratelimit.Limiter
	keys    *keyring.Ring
	trail   *audit.Trail
	tally   *audit.Tally
	// auditLog is where the trail's log stream goes; nil: to the logger.
	auditLog *os.File
	handler  http.Handler

	ready chan struct{}

	mu   sync.Mutex
	addr net.Addr
}

var _ chassis.Service = (*Service)(nil)

// New builds an instance that does nothing until Run. The error names what the
// configuration or the dependencies lack.
func New(cfg Config, deps Deps) (*Service, error) {
	var problems []error
	if names := deps.missing(); len(names) > 0 {
		problems = append(problems, errors.New("edge: missing dependencies: "+strings.Join(names, ", ")))
	}
	key, err := auth.NewAdminKey(cfg.AdminKey)
	if err != nil {
		problems = append(problems, fmt.Errorf("edge: CODEXGW_ADMIN_KEY: %w", err))
	}
	if err := errors.Join(append(problems, cfg.Validate()...)...); err != nil {
		return nil, err
	}
	origins, err := origin.Parse(cfg.Origins)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	rules, err := issuers.Parse(cfg.OIDCIssuers)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	s := &Service{cfg: cfg, deps: deps, streams: streams.New(cfg.MaxStreams), ready: make(chan struct{})}
	s.hub = hub.New(deps.Jobs.Events(), deps.Bus, deps.Logger, hub.Options{
		RingBytes: cfg.RingBytes, SlowAfter: cfg.SlowAfter, CheckEvery: cfg.PositionCheck,
	})
	keys := &apikey.Store{
		Docs: deps.Docs, Bus: deps.Bus, Secrets: deps.Secrets, Now: deps.Now, Logger: deps.Logger,
		Source: "/codexgw/edge", Env: cmp.Or(cfg.KeyEnv, "live"),
	}
	if s.keys, err = keyring.New(keys, deps.Bus, s.streams, deps.Logger, deps.Now); err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	stream := deps.Logger.Handler()
	if cfg.AuditLog != "" {
		if s.auditLog, err = os.OpenFile(cfg.AuditLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return nil, fmt.Errorf("edge: CODEXGW_AUDIT_LOG: %w", err)
		}
		stream = chassis.NewLogger(s.auditLog, chassis.LogConfig{Format: "json"}).Handler()
	}
	s.trail = audit.NewTrail(deps.Docs, stream, deps.Now, cfg.AuditRetention)
	s.tally = audit.NewTally(s.trail)
	svc := &methods.Service{
		Keys: keys, Ring: s.keys, KeyRate: cfg.RateLimit,
		Jobs: deps.Jobs, Hub: s.hub, Blobs: deps.Blobs, Now: deps.Now, Version: deps.Version,
		Audit: s.trail, Tally: s.tally, AllowFileRepos: cfg.RepoAllowFile, Draining: s.streams.Draining(),
	}
	s.issuers = issuers.New(rules, deps.Now, deps.Logger)
	tickets := auth.NewTickets(ticket.NewStore(deps.Docs, deps.Now), auth.KeyHolds(keys, deps.Now))
	if s.limits, err = ratelimit.New(deps.Docs, deps.Now, ratelimit.Options{Logger: deps.Logger}); err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	guard, err := attempts.New(cfg.AuthFailures, deps.Now)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	proxies, err := attempts.ParseProxies(cfg.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	gate := admit.New(s.limits, admit.Options{
		Rate: cfg.RateLimit, AdminRate: cfg.RateLimitAdmin, Calls: cfg.MaxCallsPerKey, Streams: cfg.MaxStreamsPerKey,
	})
	s.sockets = socket.New(svc, gate, deps.Logger, socket.Options{
		InFlight: cfg.MaxInFlight, Subscriptions: cfg.MaxSubscriptions,
		ReadLimit: cfg.BodyLimitWS, WriteTimeout: cfg.WriteTimeout,
	})
	s.handler, err = httpapi.Handler(httpapi.Deps{
		Methods: svc, Sockets: s.sockets, Hub: s.hub, Streams: s.streams, Auth: auth.Chain{tickets, key, s.keys, s.issuers}, Tickets: tickets, Gate: gate,
		Guard: guard, Proxies: proxies,
		Health: deps.Health, Blobs: deps.BlobHandler, Logger: deps.Logger,
	}, httpapi.Options{
		PublicURL: cfg.PublicURL, RPCBody: cfg.BodyLimitJSONRPC, ExecBody: cfg.BodyLimitExec, OtherBody: cfg.BodyLimitOther,
		Origins: origins, WriteTimeout: cfg.WriteTimeout,
	})
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	return s, nil
}

// Handler is the routes without a listener. Streams need Run all the same.
func (s *Service) Handler() http.Handler { return s.handler }

// Ready is closed once the instance listens.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// Addr is where the instance listens; nil before Ready.
func (s *Service) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// What the parts do at their end is bounded by itself, to a second or two: these
// limits end a hang, and a machine that is busy makes no failure of a stop.
const (
	stopLimit  = 8 * time.Second
	closeLimit = 3 * time.Second
)

// Run serves until ctx ends, then stops in order: not ready, no new
// connections, streams closed with a hint when to come back, requests in hand
// finished within the drain limit, the rest cut. It returns what failed. A
// service runs once.
func (s *Service) Run(ctx context.Context) error {
	ln := s.deps.Listener
	if ln == nil {
		var err error
		if ln, err = chassis.Listen(ctx, s.cfg.Listen.Address()); err != nil {
			return fmt.Errorf("edge: %w", err)
		}
	}
	s.mu.Lock()
	s.addr = ln.Addr()
	s.mu.Unlock()
	if s.cfg.MaxConns > 0 {
		ln = netutil.LimitListener(ln, s.cfg.MaxConns)
	}
	group := chassis.NewInnerGroup(s.deps.Logger, chassis.StopLimits{Drain: s.cfg.DrainTimeout, Stop: stopLimit, Close: closeLimit})
	group.Add(chassis.Component{Name: "audit", Run: s.tally.Run, Close: s.closeAudit})
	group.Add(chassis.Component{Name: "issuers", Close: s.issuers.Close})
	group.Add(chassis.Component{Name: "hub", Run: s.hub.Run})
	group.Add(chassis.Component{Name: "limits", Run: s.limits.Run})
	group.Add(chassis.Component{Name: "keys", Run: s.keys.Run})
	group.Add(chassis.HTTPServer("http", ln, s.handler, s.deps.Logger))
	group.Add(chassis.Component{
		Name:  "streams",
		Start: s.announce,
		Run:   s.sockets.Run,
		Quiesce: func(context.Context) error {
			s.deps.Health.SetDraining()
			s.streams.Drain()
			return nil
		},
		Drain: s.streams.Wait,
	})
	return group.Run(ctx)
}

// closeAudit closes the file of the audit records, if they have one.
func (s *Service) closeAudit(context.Context) error {
	if s.auditLog == nil {
		return nil
	}
	return s.auditLog.Close()
}

// announce says that the instance serves. It does not wait for live events: the
// subscription is opened for the first watcher, and watchers are carried by
// position checks until it hears.
func (s *Service) announce(context.Context) error {
	s.deps.Health.SetReady()
	close(s.ready)
	return nil
}
