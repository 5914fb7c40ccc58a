package codex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// How a conversation ends. [Client.Err] wraps one of them or is nil.
var (
	// ErrCrashed is the end of Codex's output while a turn was open.
	ErrCrashed = errors.New("codex: output ended before the turn did")
	// ErrExited is the end of Codex's output that nobody asked for, between turns.
	ErrExited = errors.New("codex: process ended")
	// ErrProtocol is output that is not the app-server protocol.
	ErrProtocol = errors.New("codex: protocol violated")
	// ErrClosed answers calls on a client that is over.
	ErrClosed = errors.New("codex: client closed")
)

// Transport is the three pipes of one app-server process. Whoever starts the
// process also sees to its end: the client's goroutines stop when Out and Err
// end, which a dead process and all its children bring about.
type Transport struct {
	In  io.WriteCloser
	Out io.Reader
	// Err may be nil where there is no stderr.
	Err io.Reader
}

// Options are the handlers and bounds of a client; the zero value is usable.
type Options struct {
	// Logger receives what happens to the conversation, never its content; nil
	// discards.
	Logger *slog.Logger
	// OnNotification is called for every notification, in order, one at a time.
	// It must not wait for a request of the same client (see the package).
	OnNotification func(Notification)
	// OnServerRequest is called for a request Codex makes, in order with the
	// notifications, and must not block: it answers now or keeps the request and
	// answers later. Nil declines everything.
	OnServerRequest func(*ServerRequest)
	// Redact removes secrets from stderr; nil keeps it as it is.
	Redact func(string) string
	// QueueBytes bounds what was read and not yet handled; default 8 MiB.
	QueueBytes int
	// MaxLine bounds one line of Codex; a longer one ends the conversation with
	// ErrProtocol. Default 256 MiB: lines of tens of megabytes occur.
	MaxLine int
	// MaxMalformed is how many lines that are not messages are skipped before the
	// conversation ends with ErrProtocol; default 100.
	MaxMalformed int
	// CallTimeout bounds each request on top of the caller's context; default 60 s.
	// Codex answers within milliseconds, a turn is not a request.
	CallTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnNotification == nil {
		o.OnNotification = func(Notification) {}
	}
	if o.Redact == nil {
		o.Redact = func(s string) string { return s }
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = 8 << 20
	}
	if o.MaxLine <= 0 {
		o.MaxLine = 256 << 20
	}
	if o.MaxMalformed <= 0 {
		o.MaxMalformed = 100
	}
	if o.CallTimeout <= 0 {
		o.CallTimeout = 60 * time.Second
	}
	return o
}

// Client is one conversation with one app-server. It is safe for concurrent use.
type Client struct {
	opt    Options
	in     io.WriteCloser
	writes chan []byte
	queue  *queue
	stderr tail

	nextID    atomic.Int64
	malformed atomic.Int64
	closing   chan struct{} // closed by Close: no more is written
	closeOnce sync.Once
	ended     chan struct{} // closed when no answer can come any more
	done      chan struct{} // closed when all was delivered and every turn ended
	said      chan struct{} // closed when stderr was read to its end

	mu       sync.Mutex
	calls    map[int64]*call
	turns    map[string]*Turn
	starting map[string]bool // threads whose turn/start is unanswered
	over     bool
	cause    error // why reading ended; nil after a Close
	err      error // the verdict, once every delivery was made
}

// NewClient takes over the pipes and starts reading. The first call must be
// Initialize.
func NewClient(t Transport, opt Options) *Client {
	opt = opt.withDefaults()
	c := &Client{
		opt:      opt,
		in:       t.In,
		writes:   make(chan []byte),
		queue:    newQueue(opt.QueueBytes),
		closing:  make(chan struct{}),
		ended:    make(chan struct{}),
		done:     make(chan struct{}),
		said:     make(chan struct{}),
		calls:    make(map[int64]*call),
		turns:    make(map[string]*Turn),
		starting: make(map[string]bool),
	}
	go c.writeLoop()
	go c.readLoop(t.Out)
	go c.dispatchLoop()
	go c.stderrLoop(t.Err)
	return c
}

// stderrLoop reads stderr to its end, which is the end of the process; stdout
// tells it too.
func (c *Client) stderrLoop(stderr io.Reader) {
	defer close(c.said)
	if stderr == nil {
		return
	}
	if _, err := io.Copy(&c.stderr, stderr); err != nil {
		c.opt.Logger.Debug("codex stderr ended", slog.Any("error", err))
	}
}

// Done is closed when no further handler call will come and every turn has
// ended; Err is final then.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is nil until Done, and after a Close that left no turn open; otherwise it
// wraps ErrCrashed, ErrExited or ErrProtocol.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Stderr is the redacted end of Codex's stderr, at most 64 KiB, for diagnostics.
// It may quote prompts and paths: not for clients, nor for logs at info.
func (c *Client) Stderr() string { return c.opt.Redact(c.stderr.text()) }

// Said is closed when stderr has ended: Stderr has all of it then. It is not part
// of Done, since what Codex has started may hold its stderr for longer.
func (c *Client) Said() <-chan struct{} { return c.said }

// Malformed is how many lines were skipped because they were not messages.
func (c *Client) Malformed() int64 { return c.malformed.Load() }

// Close ends Codex's stdin. A live Codex then kills its commands and exits
// within some 60 ms; Done tells when its output has ended. An open turn is lost.
func (c *Client) Close() error {
	var err error
	c.closeOnce.Do(func() {
		close(c.closing)
		err = c.in.Close()
	})
	if err != nil {
		return fmt.Errorf("codex: close stdin: %w", err)
	}
	return nil
}

// writeLoop is the one writer of stdin. Closing stdin ends a write that blocks
// because Codex does not read.
func (c *Client) writeLoop() {
	for {
		select {
		case <-c.closing:
			return
		case line := <-c.writes:
			if _, err := c.in.Write(line); err != nil {
				c.opt.Logger.Debug("codex stdin ended", slog.Any("error", err))
				// Reading goes on: the end of stdout says why.
				return
			}
		}
	}
}

// write hands a line to the writer.
func (c *Client) write(ctx context.Context, line []byte) error {
	select {
	case c.writes <- line:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.closing:
		return ErrClosed
	case <-c.ended:
		return c.endError()
	}
}

// endError is why calls fail after the end.
func (c *Client) endError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return fmt.Errorf("%w: %w", ErrClosed, c.cause)
	}
	return ErrClosed
}

// end records why reading ended and fails what waits for an answer. Turns end
// later, after what was read before was delivered.
func (c *Client) end(cause error) {
	c.mu.Lock()
	c.over = true
	c.cause = cause
	c.mu.Unlock()
	close(c.ended)
	c.queue.close()
}
