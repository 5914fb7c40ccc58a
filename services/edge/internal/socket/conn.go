package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/call"
)

const (
	// closeWait is how long a peer may take to answer a close frame.
	closeWait = time.Second
	// slowBytes is what a peer must take in a second: a message of many of them
	// has as many seconds more.
	slowBytes = 64 << 10
	// lastChance is how long a write goes on past its timeout, so that a peer
	// that reads again is told why it is closed.
	lastChance = 5 * time.Second
	// retryFrom and retryTo bound the jittered hint when draining: all clients
	// of an instance must not come back at the same moment.
	retryFrom, retryTo = 100 * time.Millisecond, 3 * time.Second
)

// conn is one connection. Its goroutines are the reader (run), the pinger, the
// drain watch, one for each frame in flight and one for each subscription; all
// end with ctx, and run waits for them.
type conn struct {
	srv    *Server
	ws     *websocket.Conn
	info   *call.Info
	ctx    context.Context //nolint:containedctx // the life of the connection
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	// turn is held while a message is written.
	turn chan struct{}
	// slots are the frames in flight.
	slots chan struct{}
	// read counts bytes and pauses of the reader: while they change, a missing
	// pong proves nothing.
	read atomic.Int64

	closeOnce sync.Once
	// closing is closed once the gateway ends the connection: nothing is
	// accepted any more.
	closing   chan struct{}
	closeSoon sync.Once

	mu   sync.Mutex
	subs map[string]*subscription
}

func newConn(ctx context.Context, s *Server, ws *websocket.Conn, info *call.Info) *conn {
	c := &conn{
		srv: s, ws: ws, info: info,
		turn: make(chan struct{}, 1), slots: make(chan struct{}, s.opt.InFlight),
		closing: make(chan struct{}), subs: make(map[string]*subscription),
	}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	return c
}

func (c *conn) run() {
	c.work.Go(c.pingLoop)
	c.work.Go(c.drainWatch)
	c.readLoop()
	c.cancel(errPeer)
	c.work.Wait()
	_ = c.ws.CloseNow() // frees the connection whatever state it is in
}

func (c *conn) readLoop() {
	for {
		frame, err := c.readFrame()
		switch {
		case errors.Is(err, errBinary):
			// Aside, because the reader must go on to see the peer's answer.
			c.work.Go(func() { c.shut(errs.CloseProtocol, "send text frames only") })
			continue
		case err != nil:
			return
		}
		if !c.takeSlot() {
			continue // the connection ends: what still comes is not served
		}
		c.work.Go(func() {
			defer func() { <-c.slots }()
			c.serve(frame)
		})
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
		c.read.Add(1)
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
	info := &call.Info{Principal: c.info.Principal, BaseURL: c.info.BaseURL}
	requestID := id.New(id.Request)
	ctx := context.WithValue(call.With(c.ctx, info), frameKey{}, f)
	answer := c.srv.mux.Serve(ctx, data, jsonrpc.Options{
		RequestID: requestID,
		After: func(ctx context.Context, method string, took time.Duration, err *errs.Error) {
			call.Log(ctx, c.srv.log, method, took, err)
		},
	})
	if answer.Body != nil {
		c.send(answer.Body)
	}
	for _, sub := range f.started {
		c.work.Go(func() { c.pump(sub) })
	}
}

// send writes one message. When it returns the message is on its way or the
// connection is ending. A peer that does not take the message in time is
// closed; writers wait for their turn at most as long as the one before them.
func (c *conn) send(message []byte) bool {
	select {
	case c.turn <- struct{}{}:
	case <-c.ctx.Done():
		return false
	}
	defer func() { <-c.turn }()
	limit := c.srv.opt.WriteTimeout + time.Duration(len(message)/slowBytes)*time.Second
	ctx, cancel := context.WithTimeout(c.ctx, limit+lastChance)
	defer cancel()
	began := time.Now()
	err := c.ws.Write(ctx, websocket.MessageText, message)
	if slow := time.Since(began) > limit; slow {
		c.srv.log.InfoContext(c.ctx, "slow WebSocket closed", slog.String("key_id", c.info.Principal.KeyID))
		c.work.Go(func() { c.shut(errs.CloseSlowConsumer, "too slow: reconnect and resume") })
	}
	return err == nil
}

// shut ends the connection with a close code, once; it returns when the
// connection is gone. It is not called from the reader, which must see the
// peer's answer.
func (c *conn) shut(code errs.CloseCode, reason string) {
	c.closeOnce.Do(func() {
		c.stopAccepting()
		cause := fmt.Errorf("socket: closed with %d", code)
		give := time.AfterFunc(closeWait, func() { c.cancel(cause) })
		defer give.Stop()
		_ = c.ws.Close(websocket.StatusCode(code), reason) // the peer may be gone already
		c.cancel(cause)
	})
}

func (c *conn) stopAccepting() { c.closeSoon.Do(func() { close(c.closing) }) }

// drainWatch closes the connection when the instance goes away: nothing new is
// taken, requests in flight may end, then the peer is told when to come back.
func (c *conn) drainWatch() {
	select {
	case <-c.srv.draining:
	case <-c.ctx.Done():
		return
	}
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
	after := retryFrom + rand.N(retryTo-retryFrom)
	hint, err := json.Marshal(struct {
		RetryAfterMS int64 `json:"retry_after_ms"`
	}{after.Milliseconds()})
	if err != nil {
		return "" // a number always encodes
	}
	return string(hint)
}

// pingLoop cuts a peer that is gone without a word. While the reader pauses or
// a message trickles in, a pong cannot be seen and its absence proves nothing;
// a message must trickle at 1 KiB/s at least.
func (c *conn) pingLoop() {
	tick := time.NewTicker(c.srv.opt.PingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return
		}
		before := c.read.Load()
		ctx, cancel := context.WithTimeout(c.ctx, c.srv.opt.PongWait)
		err := c.ws.Ping(ctx)
		cancel()
		full := len(c.slots) == cap(c.slots)
		enough := c.read.Load()-before >= int64(c.srv.opt.PongWait/time.Second)<<10
		if err != nil && !full && !enough {
			c.cancel(errPeer)
			return
		}
	}
}
