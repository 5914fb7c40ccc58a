package chassis_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/pkg/chassis"
)

// pipes is a listener in memory, so that timeouts can be tested in fake time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestServerClosesSlowConnections: who sends a header slowly or nothing more at
// all must not hold a connection for ever.
func TestServerClosesSlowConnections(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		send string
		want time.Duration
	}{
		{"nothing sent", "", 10 * time.Second},
		{"header never ends", "GET / HTTP/1.1\r\nHost: a\r\nX: ", 10 * time.Second},
		{"idle after a request", get, 60 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ln := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
				g := chassis.NewGroup(discard(), chassis.NewHealth(discard()), chassis.StopLimits{})
				g.Add(chassis.HTTPServer("http", ln, http.NotFoundHandler(), discard()))
				ctx, cancel := context.WithCancel(t.Context())
				stopped := make(chan error, 1)
				go func() { stopped <- g.Run(ctx) }()

				client, server := net.Pipe()
				ln.conns <- server
				start := time.Now()
				if err := client.SetDeadline(start.Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(client, tt.send); err != nil {
					t.Fatal(err)
				}
				_, err := io.Copy(io.Discard, client) // until the server closes
				if took := time.Since(start); errors.Is(err, context.DeadlineExceeded) || took != tt.want {
					t.Errorf("closed after %v (%v), want %v", took, err, tt.want)
				}
				cancel()
				if err := <-stopped; err != nil {
					t.Errorf("stop: %v", err)
				}
				if err := client.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
