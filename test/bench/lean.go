package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/jsonrpc"
)

// lean is a WebSocket client that does almost nothing with what it gets: a
// thousand of them share two processors with the gateway they measure, and what
// they use is not the gateway's.
type lean struct {
	conn net.Conn
	r    *bufio.Reader
	buf  []byte
}

// Frames of RFC 6455, section 5.2, as far as a server sends them here.
const (
	frameFinalText = 0x81
	frameClose     = 0x8
	framePing      = 0x9
	framePong      = 0x8a
	frameMasked    = 0x80
	frameOpcode    = 0xf
	frameLength    = 0x7f
	frameLength16  = 126
	frameLength64  = 127
)

// dialLean opens a WebSocket; its read buffer holds so many bytes.
func dialLean(ctx context.Context, e *endpoint, buffer int) (*lean, error) {
	u, err := url.Parse(e.URL)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	c := &lean{conn: conn, r: bufio.NewReaderSize(conn, buffer)}
	_, err = fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nX-API-Key: %s\r\n\r\n", u.Host, e.key)
	if err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(c.r, nil); err == nil && resp.StatusCode != http.StatusSwitchingProtocols { //nolint:bodyclose // an upgrade has none
			err = errors.New("no upgrade: " + resp.Status)
		}
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func (c *lean) close() error { return c.conn.Close() }

// next is the next text message; it is good until the one after it. Pings are
// answered.
func (c *lean) next() ([]byte, error) {
	for {
		var head [8]byte
		if _, err := io.ReadFull(c.r, head[:2]); err != nil {
			return nil, err
		}
		opcode, n := head[0]&frameOpcode, uint64(head[1]&frameLength)
		switch n {
		case frameLength16:
			if _, err := io.ReadFull(c.r, head[:2]); err != nil {
				return nil, err
			}
			n = uint64(binary.BigEndian.Uint16(head[:2]))
		case frameLength64:
			if _, err := io.ReadFull(c.r, head[:8]); err != nil {
				return nil, err
			}
			n = binary.BigEndian.Uint64(head[:])
		}
		if n > maxMessage {
			return nil, errors.New("message too large")
		}
		if uint64(cap(c.buf)) < n {
			c.buf = make([]byte, n)
		}
		c.buf = c.buf[:n]
		if _, err := io.ReadFull(c.r, c.buf); err != nil {
			return nil, err
		}
		switch opcode {
		case frameClose:
			return nil, fmt.Errorf("closed: %q", c.buf)
		case framePing:
			if err := c.write(framePong, c.buf); err != nil {
				return nil, err
			}
		default:
			return c.buf, nil
		}
	}
}

// write sends one masked frame; the mask is zero, which changes nothing.
func (c *lean) write(first byte, payload []byte) error {
	frame := []byte{first, frameMasked | byte(len(payload))} //nolint:gosec // G115: replaced below where it does not fit
	if len(payload) >= frameLength16 {
		frame = binary.BigEndian.AppendUint16([]byte{first, frameMasked | frameLength16}, uint16(len(payload))) //nolint:gosec // G115: calls here are a few hundred bytes
	}
	_, err := c.conn.Write(append(append(frame, 0, 0, 0, 0), payload...))
	return err
}

// subscribe subscribes and reads the answer.
func (c *lean) subscribe(jobID string, after int64) error {
	call, err := jsonrpc.EncodeCall(jsonrpc.IntID(1), apiv1.MethodJobSubscribe, apiv1.SubscribeParams{JobID: jobID, After: after})
	if err != nil {
		return err
	}
	if err := c.write(frameFinalText, call); err != nil {
		return err
	}
	answer, err := c.next()
	if err == nil && !bytes.Contains(answer, []byte(`"subscription_id"`)) {
		err = fmt.Errorf("not subscribed: %s", answer)
	}
	return err
}

// event is the seq of the next job.event and when it was there.
func (c *lean) event() (seq int64, at time.Time, err error) {
	for {
		m, err := c.next()
		if err != nil {
			return 0, at, err
		}
		at = time.Now()
		if seq, ok := seqOf(m); ok {
			return seq, at, nil
		}
	}
}

// seqOf finds the seq of an event: its first member called so, the gateway's own
// come before Codex's data.
func seqOf(event []byte) (int64, bool) {
	_, rest, ok := bytes.Cut(event, []byte(`"seq":`))
	if !ok {
		return 0, false
	}
	number, _, ok := bytes.Cut(rest, []byte(","))
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseInt(string(number), 10, 64)
	return seq, err == nil
}
