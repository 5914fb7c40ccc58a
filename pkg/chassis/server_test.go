package chassis_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/chassis"
)

// served runs a server in a group until stop is called.
func served(t *testing.T, h http.Handler, limits chassis.StopLimits) (addr string, stop func() error) {
	t.Helper()
	ln, err := chassis.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := chassis.NewGroup(discard(), chassis.NewHealth(discard()), limits)
	g.Add(chassis.HTTPServer("http", ln, h, discard()))
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	return ln.Addr().String(), func() error {
		cancel(errTest)
		return <-done
	}
}

// request sends a raw request on a connection of its own.
func request(t *testing.T, addr, raw string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	return conn
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

func TestServerFinishesRequestsInHand(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	addr, stop := served(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, "done")
	}), chassis.StopLimits{Drain: time.Minute})
	conn := request(t, addr, get)
	<-arrived
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for { // the listener closes while the request is still in hand
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			break
		}
		_ = c.Close()
	}
	close(release)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("the request in hand was cut off: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); string(body) != "done" || err != nil {
		t.Errorf("body %q, %v", body, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestServerCutsOffRequestsWithACause(t *testing.T) {
	t.Parallel()
	arrived, cause := make(chan struct{}), make(chan error, 1)
	addr, stop := served(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		cause <- context.Cause(r.Context())
	}), chassis.StopLimits{Drain: 20 * time.Millisecond})
	request(t, addr, get)
	<-arrived
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := <-cause; !errors.Is(err, chassis.ErrStopping) || !errors.Is(err, errTest) {
		t.Errorf("cause = %v", err)
	}
}

func TestServerRefusesLargeHeaders(t *testing.T) {
	t.Parallel()
	addr, stop := served(t, http.NotFoundHandler(), ample)
	conn := request(t, addr, fmt.Sprintf("GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", strings.Repeat("x", 80<<10)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestServerFailsWhenItsListenerDoes(t *testing.T) {
	t.Parallel()
	ln, err := chassis.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	g := chassis.NewGroup(discard(), chassis.NewHealth(discard()), ample)
	g.Add(chassis.HTTPServer("http", ln, http.NotFoundHandler(), discard()))
	if err := g.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error = %v, want net.ErrClosed", err)
	}
}

func TestListenFailsOnATakenPort(t *testing.T) {
	t.Parallel()
	ln, err := chassis.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if _, err := chassis.Listen(t.Context(), ln.Addr().String()); err == nil {
		t.Error("one port was opened twice")
	}
}
