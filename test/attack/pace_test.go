package attack_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/wait"
)

// pace is about clients that hold connections: too slow, too many, half gone.
// Header 10 s, then a body of 1 KiB/s after 10 s, 60 s idle.
func pace() []attack {
	head := "POST /jsonrpc HTTP/1.1\r\nHost: gw.example\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
	rows := append(exchanges([]exchange{
		{name: "nothing sent", send: "", end: closed, slow: true},
		{name: "head that stops", send: "GET /health HTTP/1.1\r\nHost: gw.example\r\nX-", want: []answer{unread(400)}, end: closed, slow: true},
		{name: "body that stops", send: head + "Content-Length: 1000\r\n\r\n{", want: []answer{refused(408, errs.InvalidRequest).with("Connection", "close")}, end: closed, slow: true},
		{name: "chunk that stops", send: head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{", want: []answer{refused(408, errs.InvalidRequest)}, end: closed, slow: true},
		{name: "body of no route that stops", send: request("POST /nowhere", "Content-Length: 1000"), want: []answer{refused(404, errs.NotFound)}, end: closed, slow: true},
		{name: "body of no method that stops", send: request("PUT /jsonrpc", "Content-Length: 1000"), want: []answer{refused(405, errs.InvalidRequest)}, end: closed, slow: true},
		{name: "body of a GET that stops", send: request("GET /health", "Content-Length: 1000"), want: []answer{refused(408, errs.InvalidRequest)}, end: closed, slow: true},
		{name: "body without a key that stops", send: "POST /jsonrpc HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n", want: []answer{failed(401, errs.Unauthenticated)}, end: closed, slow: true},
		{name: "gone before the answer", send: call(ping), end: either},
		{name: "gone in the head", send: "GET /hea", want: []answer{unread(400)}, end: closed, hangup: true},
		{name: "half closed after the request", send: "GET /health HTTP/1.1\r\nHost: gw.example\r\n\r\n", want: []answer{is(200)}, end: closed, hangup: true},
		{name: "half closed WebSocket", send: upgrade(), want: []answer{{status: 101, form: bare}}, end: closed, hangup: true},
		{name: "half closed stream", send: request("GET /v1/jobs/{QUEUED}/events", "Accept: text/event-stream"), end: either, hangup: true},
	}),
		attack{name: "one byte of a head at a time", slow: true, run: func(ctx context.Context, g *gateway) error {
			return trickle(ctx, g, "GET /health HTTP/1.1\r\nHost: gw.example\r\nX-Slow: ", "a", 0)
		}},
		attack{name: "one byte of a body at a time", slow: true, run: func(ctx context.Context, g *gateway) error {
			return trickle(ctx, g, g.fill(head)+"Content-Length: 100000\r\n\r\n", " ", 408)
		}},
		attack{name: "one chunk of a byte at a time", slow: true, run: func(ctx context.Context, g *gateway) error {
			return trickle(ctx, g, g.fill(head)+"Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n", 408)
		}},
		attack{name: "a thousand connections that say nothing", slow: true, run: crowd},
		attack{name: "more streams than there may be", alone: true, run: tooManyStreams},
		attack{name: "stream that nobody reads", run: func(ctx context.Context, g *gateway) error {
			_, conn, err := hold(ctx, g, request("GET /v1/jobs/{QUEUED}/events", "Accept: application/x-ndjson"))
			if err != nil {
				return err
			}
			return conn.Close()
		}},
		attack{name: "answers of 8 MiB that nobody reads", run: func(ctx context.Context, g *gateway) error {
			big := `{"jsonrpc":"2.0","id":"` + strings.Repeat("a", 1<<20) + `","method":"system.ping"}`
			_, conn, err := hold(ctx, g, call(big))
			if err != nil {
				return err
			}
			return conn.Close()
		}},
	)
	if *idle {
		rows = append(rows, exchanges([]exchange{
			{name: "idle after an answer", send: "GET /health HTTP/1.1\r\nHost: gw.example\r\n\r\n", want: []answer{is(200)}, end: closed, slow: true},
		})...)
	}
	return rows
}

// trickle sends a head and then a piece every half second, until the gateway
// ends the connection; status is the answer before that, 0: none.
func trickle(ctx context.Context, g *gateway, head, piece string, status int) error {
	conn, err := dial(ctx, g)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, head); err != nil {
		return err
	}
	over := make(chan error, 1)
	go func() {
		r := bufio.NewReader(conn)
		if status != 0 {
			if err := refused(status, errs.InvalidRequest).check(r); err != nil {
				over <- err
				return
			}
		}
		over <- gone(r)
	}()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-over:
			return err
		case <-tick.C:
			_, _ = io.WriteString(conn, piece) // the reader sees the end
		}
	}
}

// crowd opens connections that say nothing: each is closed within the time for
// a head.
func crowd(ctx context.Context, g *gateway) error {
	ended := make(chan error, 1000)
	for range cap(ended) {
		conn, err := dial(ctx, g)
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			ended <- gone(conn)
		}()
	}
	var all []error
	for range cap(ended) {
		all = append(all, <-ended)
	}
	return errors.Join(all...)
}

// tooManyStreams opens streams until the gateway opens no more: the next is
// told so, with when to come back, and there is one again when they are closed.
func tooManyStreams(ctx context.Context, g *gateway) error {
	var open []io.Closer
	closeAll := func() {
		for _, c := range open {
			_ = c.Close()
		}
		open = nil
	}
	defer closeAll()
	for range maxStreams + 1 {
		resp, conn, err := openStream(ctx, g) //nolint:bodyclose // it is the connection's
		if err != nil {
			return err
		}
		open = append(open, conn)
		switch {
		case resp.StatusCode == http.StatusOK: // its body lasts until the connection is closed
		case resp.StatusCode != http.StatusServiceUnavailable:
			return mismatch("status", resp.Status, "503 at last")
		case resp.Header.Get("Retry-After") == "":
			return errors.New("503 without Retry-After")
		default:
			closeAll()
			return streamsAgain(ctx, g)
		}
	}
	return fmt.Errorf("%d streams are open", maxStreams+1)
}

// openStream asks for a stream, which is open until its connection is closed.
func openStream(ctx context.Context, g *gateway) (*http.Response, io.Closer, error) {
	r, conn, err := hold(ctx, g, request("GET /v1/jobs/{QUEUED}/events", "Accept: text/event-stream"))
	if err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return resp, conn, nil
}

// streamsAgain waits until the gateway has seen that streams are closed.
func streamsAgain(ctx context.Context, g *gateway) error {
	for {
		resp, conn, err := openStream(ctx, g) //nolint:bodyclose // it is the connection's
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		if !wait.For(ctx, 50*time.Millisecond) {
			return mismatch("status", resp.Status, "200 again")
		}
	}
}

// body reads one answer's.
func body(r *bufio.Reader) ([]byte, error) {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(resp.Body)
	return raw, errors.Join(err, resp.Body.Close())
}
