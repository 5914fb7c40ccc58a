package socket

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// burstBytes is how much is written at once: some thirty events.
	burstBytes = 16 << 10
	// asideBytes is what may wait beside a write under way. Only control frames
	// do; past it their writers wait too, and the WebSocket ends the connection.
	asideBytes = 4 << 10
	// readBuffer and writeBuffer are what each connection has for itself: a
	// read buffer holds headers and small requests, larger reads go past it; a
	// write buffer holds one control frame. net/http leaves 4 KiB of each.
	readBuffer, writeBuffer = 512, 256
)

// bursts are the buffers of writes under way: an idle connection has none.
var bursts = sync.Pool{New: func() any { b := make([]byte, 0, burstBytes); return &b }}

// wire is the network connection below a WebSocket. Between hold and flush it
// collects what is written, so that many messages cost one system call; every
// write it makes has a deadline. A control frame that comes while a write is
// under way does not wait for it: a ping that had to would end the connection.
type wire struct {
	net.Conn

	// limit is how long a peer may take for a write, lastChance aside.
	limit time.Duration
	// slow is set once a write took longer than its limit.
	slow atomic.Bool

	mu   sync.Mutex
	free sync.Cond // nobody writes any more
	buf  *[]byte   // collected; nil: nothing
	held bool
	busy bool // a write is under way, without mu
	err  error
}

func newWire(c net.Conn, limit time.Duration) *wire {
	w := &wire{Conn: c, limit: limit}
	w.free.L = &w.mu
	return w
}

// lingerBytes is how much a peer may still send that was told to stop.
const lingerBytes = 1 << 20

// linger reads on for a moment and throws it away: to close a connection with
// bytes unread resets it, and the reset may reach a peer that still sends before
// it has read why. A peer that sends more than that finds out the hard way.
func (w *wire) linger(d time.Duration) {
	if err := w.SetReadDeadline(time.Now().Add(d)); err == nil {
		_, _ = io.CopyN(io.Discard, w.Conn, lingerBytes) // ends with the deadline, the bound or the peer
	}
}

// hold begins to collect.
func (w *wire) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = true
}

// flush writes what was collected and ends the collecting.
func (w *wire) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = false
	w.drain(0)
	return w.err
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.waiting() + len(p); n > burstBytes || w.busy && n > asideBytes {
		w.drain(len(p))
	}
	switch {
	case len(p) > burstBytes: // one large message: it is not copied
		w.out(p, 0)
	default:
		if w.buf == nil {
			w.buf = bursts.Get().(*[]byte) //nolint:errcheck,forcetypeassert // nothing else is put there
		}
		*w.buf = append(*w.buf, p...)
		if !w.held && !w.busy {
			w.drain(0)
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

func (w *wire) waiting() int {
	if w.buf == nil {
		return 0
	}
	return len(*w.buf)
}

// drain writes what is collected until there is nothing, after whoever writes
// already; ahead is how much will follow. mu is held.
func (w *wire) drain(ahead int) {
	for w.busy {
		w.free.Wait()
	}
	for w.buf != nil && w.err == nil {
		b := w.buf
		w.buf = nil
		w.out(*b, ahead)
		*b = (*b)[:0]
		bursts.Put(b)
	}
}

// out writes, without mu meanwhile. A write that belongs to a large message has
// the time of the whole: the peer may take that all at once, and late.
func (w *wire) out(p []byte, ahead int) {
	if w.err != nil {
		return
	}
	w.busy = true
	w.mu.Unlock()
	limit := w.limit + time.Duration((len(p)+ahead)/slowBytes)*time.Second
	began := time.Now()
	err := w.SetWriteDeadline(began.Add(limit + lastChance))
	if err == nil {
		_, err = w.Conn.Write(p)
	}
	if time.Since(began) > limit {
		w.slow.Store(true)
	}
	w.mu.Lock()
	w.busy = false
	if err != nil {
		w.err = err
	}
	w.free.Broadcast()
}

// upgrader gives a WebSocket a wire and small buffers when it takes over the
// connection of a request.
type upgrader struct {
	http.ResponseWriter

	limit time.Duration
	wire  *wire // set by Hijack
}

var _ http.Hijacker = (*upgrader)(nil)

// Hijack implements http.Hijacker. What the client has sent already stays.
func (u *upgrader) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, err := rw.Peek(rw.Reader.Buffered())
	if err != nil {
		return nil, nil, err
	}
	u.wire = newWire(c, u.limit)
	var from io.Reader = c
	if len(early) > 0 {
		from = io.MultiReader(bytes.NewReader(bytes.Clone(early)), c)
	}
	r := bufio.NewReaderSize(from, max(readBuffer, len(early)))
	if _, err := r.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	return u.wire, bufio.NewReadWriter(r, bufio.NewWriterSize(u.wire, writeBuffer)), nil
}
