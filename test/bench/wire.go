package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"codexgateway.dev/pkg/wait"
)

// load is one request on connections that are kept, sent as the same bytes each
// time: with [net/http] as its client, the client costs more than the server,
// and the two share the processors.
type load struct {
	addr    string
	request []byte
	// want is what an answer must hold.
	want  []byte
	conns int
}

// newLoad is a load of calls of one body, which are answered with want.
func newLoad(g *gateway, body []byte, want string, conns int) (*load, error) {
	u, err := url.Parse(g.URL)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("POST /jsonrpc HTTP/1.1\r\nHost: %s\r\nX-Api-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", u.Host, g.key, len(body))
	return &load{addr: u.Host, request: append([]byte(head), body...), want: []byte(want), conns: conns}, nil
}

// each runs work on every connection at once and returns what failed first.
func (l *load) each(ctx context.Context, limit time.Duration, work func(i int, c *wireConn) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for i := range l.conns {
		running.Go(func() {
			if err := l.one(ctx, limit, func(c *wireConn) error { return work(i, c) }); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// one runs work on a connection of its own.
func (l *load) one(ctx context.Context, limit time.Duration, work func(*wireConn) error) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	return work(&wireConn{Conn: conn, r: bufio.NewReader(conn), request: l.request, want: l.want})
}

// closed sends on every connection as soon as the answer before it is there, for
// a time, and returns how many answers a second came.
func (l *load) closed(ctx context.Context, d time.Duration) (perSecond float64, err error) {
	counts := make([]int, l.conns)
	begin := time.Now()
	err = l.each(ctx, d+readyLimit, func(i int, c *wireConn) error {
		for time.Since(begin) < d {
			if err := c.call(); err != nil {
				return err
			}
			counts[i]++
		}
		return nil
	})
	took := time.Since(begin)
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / took.Seconds(), err
}

// open sends at a rate whatever the server does, and takes each latency from the
// moment the request was due.
func (l *load) open(ctx context.Context, rate float64, d time.Duration) (times, error) {
	every := time.Duration(float64(time.Second) * float64(l.conns) / rate)
	n := int(d / every)
	all := make(times, n*l.conns)
	begin := time.Now()
	err := l.each(ctx, d+readyLimit, func(i int, c *wireConn) error {
		for k := range n {
			due := begin.Add(time.Duration(k)*every + time.Duration(i)*every/time.Duration(l.conns))
			if !wait.For(ctx, time.Until(due)) {
				return context.Cause(ctx)
			}
			if err := c.call(); err != nil {
				return err
			}
			all[k*l.conns+i] = time.Since(due)
		}
		return nil
	})
	return all, err
}

// wireConn is one connection.
type wireConn struct {
	net.Conn

	r             *bufio.Reader
	request, want []byte
	body          []byte
}

// call sends the request and reads a whole answer, which must be the wanted one.
func (c *wireConn) call() error {
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	status, err := c.r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answered %q", status)
	}
	length := -1
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if len(name) == len("Content-Length") && strings.EqualFold(string(name), "Content-Length") {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("an answer without Content-Length")
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	if _, err := io.ReadFull(c.r, c.body); err != nil {
		return err
	}
	if !bytes.Contains(c.body, c.want) {
		return fmt.Errorf("answered %s", c.body)
	}
	return nil
}
