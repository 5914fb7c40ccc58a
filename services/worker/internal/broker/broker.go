package broker

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/semaphore"
)

const (
	// basePath is the path of a session's base URL, route the one path served.
	basePath = "/v1"
	route    = basePath + "/responses"
	// headerTimeout bounds reading a request's headers, idleTimeout a kept
	// connection without one.
	headerTimeout  = 10 * time.Second
	idleTimeout    = 60 * time.Second
	maxHeaderBytes = 64 << 10
	// maxConns bounds the connections; further ones wait to be accepted.
	maxConns = 1024
)

// Causes that end requests.
var (
	// ErrClosed means that the session or the whole broker was closed.
	ErrClosed = errors.New("broker: closed")
	// ErrBound means that a session already has a job.
	ErrBound = errors.New("broker: session is already bound to a job")

	errDeadline      = errors.New("broker: job deadline reached")
	errHeaderTimeout = errors.New("broker: no answer from the model in time")
	errIdle          = errors.New("broker: the model's stream fell silent")
)

// Broker is the proxy's server. It listens on a free port of 127.0.0.1.
type Broker struct {
	opt       Options
	target    *url.URL
	transport *http.Transport
	server    *http.Server
	base      string
	metrics   *metrics

	slots    chan struct{} // one per request in progress
	buffered *semaphore.Weighted

	ctx    context.Context // ends with the broker; parent of every session
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	sessions map[[sha256.Size]byte]*Session // by hash of the token

	served   chan struct{} // closed when the server's loop returned serveErr
	serveErr error
}

// New starts a broker.
func New(opt Options) (*Broker, error) {
	opt = opt.withDefaults()
	target, err := opt.target()
	if err = errors.Join(err, opt.validate()); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	m, err := newMetrics(opt.Meter)
	if err != nil {
		return nil, fmt.Errorf("broker: metrics: %w", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel(ErrClosed)
		return nil, fmt.Errorf("broker: listen: %w", err)
	}
	b := &Broker{
		opt: opt, target: target, transport: newTransport(opt), metrics: m,
		base:     "http://" + ln.Addr().String() + basePath,
		slots:    make(chan struct{}, opt.MaxInflight),
		buffered: semaphore.NewWeighted(opt.MaxBuffered),
		ctx:      ctx, cancel: cancel,
		sessions: make(map[[sha256.Size]byte]*Session),
		served:   make(chan struct{}),
	}
	b.server = &http.Server{
		Handler: http.HandlerFunc(b.serveHTTP), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(opt.Logger.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(b.served)
		b.serveErr = b.server.Serve(netutil.LimitListener(ln, maxConns))
	}()
	return b, nil
}

// BaseURL is what Codex gets as its provider's base_url; it ends in /v1.
func (b *Broker) BaseURL() string { return b.base }

// Close closes every session, stops the server and waits for both, at most
// until ctx ends. Closing twice is harmless.
func (b *Broker) Close(ctx context.Context) error {
	b.cancel(ErrClosed)
	b.mu.Lock()
	open := make([]*Session, 0, len(b.sessions))
	for _, s := range b.sessions {
		open = append(open, s)
	}
	b.mu.Unlock()
	for _, s := range open {
		s.Close()
	}
	err := b.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, b.server.Close())
	}
	<-b.served
	b.transport.CloseIdleConnections()
	if !errors.Is(b.serveErr, http.ErrServerClosed) {
		err = errors.Join(err, b.serveErr)
	}
	if err != nil {
		return fmt.Errorf("broker: close: %w", err)
	}
	return nil
}

// Open makes a session with a token of its own. It refuses model calls until
// [Session.Bind]. The caller closes it.
func (b *Broker) Open() (*Session, error) {
	token, hash := newToken()
	ctx, cancel := context.WithCancelCause(b.ctx)
	s := &Session{broker: b, token: token, hash: hash, ctx: ctx, cancel: cancel}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		cancel(ErrClosed)
		return nil, ErrClosed
	}
	b.sessions[hash] = s
	return s, nil
}

// session finds the session of a bearer token. The lookup is by the token's
// hash, so what its duration may tell about the table is of no use to guess a
// token: no constant-time comparison of the token itself is needed.
func (b *Broker) session(authorization string) (*Session, bool) {
	scheme, token, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return nil, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.sessions[sha256.Sum256([]byte(token))]
	return s, ok
}

func (b *Broker) forget(hash [sha256.Size]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.sessions, hash)
}
