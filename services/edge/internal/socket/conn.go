package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/call"
	"codexgateway.dev/services/edge/internal/streams"
)

const (
	// closeWait is how long a peer may take to answer a close frame.
	closeWait = time.Second
	// slowBytes is what a peer must take in a second: a message of many of them
	// has as many seconds more.
	slowBytes = 64 << 10
	// trickle is what a peer whose pong does not come must send in a second to
	// prove that it is there, in bytes.
	trickle = 1 << 10
	// lastChance is how long a write goes on past its limit, and how long the
	// close frame may take after it, so that a peer that reads again is told why
	// it is closed.
	lastChance = 5 * time.Second
	// maxReason is how long the reason of a close may be (RFC 6455, section 5.5).
	maxReason = 123
)

// conn is one connection. While nothing happens it has one goroutine, the
// reader (run), and one for each subscription. The others are one for each
// frame in flight, and short ones for pings and the end; run waits for all.
type conn struct {
	srv    *Server
	ws     *websocket.Conn
	wire   *wire
	info   *call.Info
	ctx    context.Context //nolint:containedctx // the life of the connection
	cancel context.CancelCauseFunc

	// turn is held while messages are written.
	turn chan struct{}
	// slots are the frames in flight.
	slots chan struct{}
	// read counts the bytes that came, paused how often the reader stood still:
	// while they change, a missing pong proves nothing.
	read, paused atomic.Int64

	closeOnce sync.Once
	// closing is closed once the gateway ends the connection: nothing is
	// accepted any more.
	closing   chan struct{}
	closeSoon sync.Once

	mu     sync.Mutex
	subs   map[string]*subscription
	pinger *time.Timer
	over   bool // nothing is spawned any more
	work   sync.WaitGroup
}

func newConn(s *Server, ws *websocket.Conn, w *wire, info *call.Info) *conn {
	c := &conn{
		srv: s, ws: ws, wire: w, info: info,
		turn: make(chan struct{}, 1), slots: make(chan struct{}, s.opt.InFlight),
		closing: make(chan struct{}), subs: make(map[string]*subscription),
	}
	c.ctx, c.cancel = context.WithCancelCause(s.ctx)
	return c
}

func (c *conn) run() {
	c.mu.Lock()
	c.pinger = time.AfterFunc(c.srv.opt.PingEvery, func() { c.spawn(c.ping) })
	c.mu.Unlock()
	c.contained(c.readLoop)
	c.mu.Lock()
	c.over = true
	c.pinger.Stop()
	c.mu.Unlock()
	c.cancel(errPeer)
	_ = c.wire.Close() // whoever writes must not wait for a peer that nobody reads
	c.work.Wait()
	c.abandon()
}

// abandon frees the connection whatever state it is in.
func (c *conn) abandon() {
	c.cancel(errPeer)
	_ = c.ws.CloseNow()
}

// spawn runs work that run waits for; false: the connection has ended.
func (c *conn) spawn(work func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.work.Go(func() { c.contained(work) })
	}
	return !c.over
}

// contained keeps a panic from ending more than the connection.
func (c *conn) contained(work func()) {
	defer func() {
		if v := recover(); v != nil {
			stack := debug.Stack()
			if p, ok := v.(*jsonrpc.PanicError); ok {
				stack = p.Stack // of the member of a batch
			}
			c.srv.log.LogAttrs(c.ctx, slog.LevelError, "WebSocket panicked",
				slog.Any("panic", v), slog.String("stack", string(stack)))
			c.cancel(errPanic)
		}
	}()
	work()
}

func (c *conn) readLoop() {
	for {
		frame, err := c.readFrame()
		switch {
		case errors.Is(err, errBinary):
			c.refuse(errs.CloseProtocol, "send text frames only")
			continue
		case errors.Is(err, websocket.ErrMessageTooBig):
			c.wire.linger(closeWait)
			return
		case err != nil:
			return
		case !utf8.Valid(frame): // RFC 6455, section 8.1
			c.refuse(errs.CloseCode(websocket.StatusInvalidFramePayloadData), "text must be UTF-8")
			continue
		}
		if !c.takeSlot() {
			continue // the connection ends: what still comes is not served
		}
		c.spawn(func() { // the reader runs: it has not ended
			defer func() { <-c.slots }()
			c.serve(frame)
		})
	}
}

// refuse begins to end the connection for what the peer sent: aside, because the
// reader must go on to see the peer's answer, and once, because a peer can send
// a million such messages until it is over.
func (c *conn) refuse(code errs.CloseCode, reason string) {
	select {
	case <-c.closing:
	default:
		c.stopAccepting()
		c.spawn(func() { c.shut(code, reason) })
	}
}

// takeSlot waits until another frame may be served.
func (c *conn) takeSlot() bool {
	select {
	case <-c.closing:
		return false
	default:
	}
	select {
	case c.slots <- struct{}{}:
		return true
	default:
	}
	defer c.paused.Add(1)
	select {
	case c.slots <- struct{}{}:
		return true
	case <-c.closing:
	case <-c.ctx.Done():
	}
	return false
}

var errBinary = errors.New("socket: binary frame")

// readFrame reads one text message.
func (c *conn) readFrame() ([]byte, error) {
	kind, r, err := c.ws.Reader(c.ctx)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText {
		_, err := io.Copy(io.Discard, r)
		return nil, errors.Join(errBinary, err)
	}
	return io.ReadAll(progress{r, &c.read})
}

// progress counts what is read.
type progress struct {
	io.Reader

	n *atomic.Int64
}

func (p progress) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.n.Add(int64(n))
	return n, err
}

// serve answers one frame, then starts the subscriptions it made: their events
// must not overtake the answer that names them.
func (c *conn) serve(data []byte) {
	f := &frame{conn: c}
	requestID := id.New(id.Request)
	info := &call.Info{Principal: c.info.Principal, Address: c.info.Address, RequestID: requestID, BaseURL: c.info.BaseURL}
	ctx := context.WithValue(call.With(c.ctx, info), frameKey{}, f)
	answer := c.srv.mux.Serve(ctx, data, jsonrpc.Options{
		RequestID: requestID,
		Before:    func(ctx context.Context, method string) error { return c.srv.gate.Method(ctx, c.srv.mux, method) },
		After: func(ctx context.Context, method string, took time.Duration, err *errs.Error) {
			c.srv.gate.Leave(ctx)
			call.Log(ctx, c.srv.log, method, took, err)
			if err != nil {
				c.srv.svc.Denied(ctx, method, err)
			}
		},
	})
	if answer.Body != nil {
		c.send(answer.Body)
	}
	for _, sub := range f.started {
		if !c.spawn(func() { c.pump(sub) }) {
			c.pump(sub) // which only gives it up
		}
	}
}

// send writes one message. When it returns the message is on its way or the
// connection is ending.
func (c *conn) send(message []byte) {
	c.burst(func() bool { return c.put(message) })
}

// burst writes the messages that fill puts, at once. A peer that does not take
// them in time is closed; writers wait for their turn at most as long as the one
// before them.
func (c *conn) burst(fill func() bool) bool {
	select {
	case c.turn <- struct{}{}:
	case <-c.ctx.Done():
		return false
	}
	defer func() { <-c.turn }()
	c.wire.hold()
	filled := fill()
	err := c.wire.flush()
	if c.wire.slow.Load() {
		c.shutSlow("write")
		return false
	}
	return filled && err == nil
}

// put adds a message to the burst. It has no context: the wire's deadlines bound
// it, and the end of the connection closes the wire.
func (c *conn) put(message []byte) bool {
	return c.ws.Write(context.WithoutCancel(c.ctx), websocket.MessageText, message) == nil
}

// shutSlow ends the connection of a peer that is too slow, and tells it
// what it has. At is what was too slow: a write, or the subscription as a whole.
func (c *conn) shutSlow(at string) {
	c.srv.log.LogAttrs(c.ctx, slog.LevelInfo, "slow WebSocket closed", slog.String("at", at), slog.String("key_id", c.info.Principal.KeyID))
	reason := c.lastSeqs()
	c.spawn(func() { c.shut(errs.CloseSlowConsumer, reason) })
}

// lastSeqs is the reason of a close: `{"last_seq":{"sub_…":41}}`, the seq of the
// last event written to each subscription. Those that do not fit are left out: a
// client knows what it has, this only spares it the look.
func (c *conn) lastSeqs() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seqs := make(map[string]int64, len(c.subs))
	reason := []byte("{}")
	for id, sub := range c.subs {
		seqs[id] = sub.last.Load()
		more, err := json.Marshal(struct {
			LastSeq map[string]int64 `json:"last_seq"`
		}{seqs})
		if err != nil || len(more) > maxReason {
			break // strings and numbers always encode
		}
		reason = more
	}
	return string(reason)
}

// shut ends the connection with a close code, once; it returns when the
// connection is gone. It is not called from the reader, which must see the
// peer's answer.
func (c *conn) shut(code errs.CloseCode, reason string) {
	c.closeOnce.Do(func() {
		c.stopAccepting()
		cause := fmt.Errorf("socket: closed with %d", code)
		wait := closeWait
		if code == errs.CloseSlowConsumer {
			wait = lastChance // what it has not read is in front of the close frame
		}
		give := time.AfterFunc(wait, func() { c.cancel(cause) })
		defer give.Stop()
		_ = c.ws.Close(websocket.StatusCode(code), reason) // the peer may be gone already
		c.cancel(cause)
	})
}

func (c *conn) stopAccepting() { c.closeSoon.Do(func() { close(c.closing) }) }

// drain closes the connection because the instance goes away: nothing new is
// taken, requests in flight may end, then the peer is told when to come back.
func (c *conn) drain() {
	c.stopAccepting()
	limit := time.NewTimer(c.srv.opt.DrainWait)
	defer limit.Stop()
wait:
	for range cap(c.slots) {
		select {
		case c.slots <- struct{}{}: // nobody else takes one any more
		case <-limit.C:
			break wait
		case <-c.ctx.Done():
			return
		}
	}
	c.shut(errs.CloseDraining, retryHint())
}

// retryHint is the reason of a close that says when to come back.
func retryHint() string {
	return fmt.Sprintf(`{"retry_after_ms":%d}`, streams.RetryAfter().Milliseconds())
}

// ping cuts a peer that is gone without a word. While the reader pauses, a
// message trickles in or one is being written, a pong cannot be seen and its
// absence proves nothing; a message must come at trickle at least, and writes have
// their own limit.
func (c *conn) ping() {
	before, pauses := c.read.Load(), c.paused.Load()
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.opt.PongWait)
	err := c.ws.Ping(ctx)
	cancel()
	stood := len(c.slots) == cap(c.slots) || c.paused.Load() != pauses
	writing := len(c.turn) > 0
	enough := c.read.Load()-before >= int64(c.srv.opt.PongWait.Seconds()*trickle)
	if err != nil && !stood && !writing && !enough {
		c.cancel(errPeer)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.pinger.Reset(c.srv.opt.PingEvery)
	}
}
