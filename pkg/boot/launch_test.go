package boot_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/pkg/boot"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/pkg/platform"
)

// held makes the platform's opening wait: opening is closed when it has begun,
// and it goes on when release is closed.
func (p *process) held() (opening, release chan struct{}) {
	opening, release = make(chan struct{}), make(chan struct{})
	open := p.Open
	p.Open = func(ctx context.Context, cfg cloud, d boot.Deps) (*platform.Platform, error) {
		close(opening)
		select {
		case <-release:
			return open(ctx, cfg, d)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return opening, release
}

func TestAServiceListensBeforeItsPlatformIsOpen(t *testing.T) {
	t.Parallel()
	addr := freeport.Addr()
	p := newProcess(t, map[string]string{"CODEXGW_ADDR": addr})
	opening, release := p.held()
	done := p.main(t)
	<-opening
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if code, body := get(t, client, addr, http.MethodGet, "/health", ""); code != http.StatusOK {
		t.Errorf("/health: %d %s", code, body)
	}
	if code, body := get(t, client, addr, http.MethodGet, "/ready", ""); code != http.StatusServiceUnavailable || !strings.Contains(body, `"starting"`) {
		t.Errorf("/ready: %d %s", code, body)
	}
	// A 404 would count as a delivery that failed.
	if code, _ := get(t, client, addr, http.MethodPost, "/push/job-commands.worker", "early"); code != http.StatusServiceUnavailable {
		t.Errorf("a push before there is a platform: %d", code)
	}
	health := boot.Process[cloud]{Name: "tester", Args: []string{"-healthcheck"}, Lookup: p.Lookup, Log: io.Discard}
	if code := boot.Main(t.Context(), health, p.build); code != chassis.ExitOK {
		t.Errorf("health check: %d", code)
	}
	close(release)
	<-p.run
	until(t, func() bool {
		code, _ := get(t, client, addr, http.MethodGet, "/ready", "")
		return code == http.StatusOK
	})
	if code, _ := get(t, client, addr, http.MethodPost, "/push/job-commands.worker", "in time"); code != http.StatusNoContent {
		t.Errorf("push: %d", code)
	}
	p.signals <- syscall.SIGTERM
	if code := <-done; code != chassis.ExitOK {
		t.Errorf("exit code %d\n%s", code, p.log)
	}
	want := []string{"pushed job-commands.worker in time", "service quiesced", "service ended", "platform closed"}
	if got := p.all(); !slices.Equal(got, want) {
		t.Errorf("steps %q, want %q", got, want)
	}
}

func TestAStopWhileThePlatformOpensIsNoFailure(t *testing.T) {
	t.Parallel()
	addr := freeport.Addr()
	p := newProcess(t, map[string]string{"CODEXGW_ADDR": addr})
	opening, _ := p.held()
	done := p.main(t)
	<-opening
	p.signals <- syscall.SIGTERM
	if code := <-done; code != chassis.ExitOK {
		t.Errorf("exit code %d\n%s", code, p.log)
	}
	if got := p.all(); len(got) != 0 {
		t.Errorf("steps %q of a service that never was", got)
	}
	refusedAt(t, addr)
}

// refusedAt checks that nobody listens any more.
func refusedAt(t *testing.T, addr string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err == nil {
		_ = conn.Close()
		t.Errorf("%s still listens", addr)
	}
}

// server is a service that serves its listener itself.
type server struct{ boot.Parts }

// Run implements chassis.Service.
func (s *server) Run(ctx context.Context) error {
	c := chassis.HTTPServer("own", s.Listener, s.Mux, s.Jobs.Logger)
	group := chassis.NewInnerGroup(s.Jobs.Logger, chassis.StopLimits{})
	group.Add(c)
	return group.Run(ctx)
}

// A service drains within its own stop: what the operator grants for that is not
// cut off by the limits around it.
func TestAServiceHasItsDrainForItsOwnStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, map[string]string{"CODEXGW_DRAIN_TIMEOUT": "60s"}) // without PORT: nothing listens
		p.takes = 70 * time.Second
		done := p.main(t)
		<-p.run
		p.signals <- syscall.SIGTERM
		if code := <-done; code != chassis.ExitOK {
			t.Errorf("exit code %d\n%s", code, p.log)
		}
		if want := []string{"service quiesced", "service ended", "platform closed"}; !slices.Equal(p.all(), want) {
			t.Errorf("steps %q, want %q", p.all(), want)
		}
	})
}

func TestAServiceWithItsOwnListenerKeepsEarlyConnections(t *testing.T) {
	t.Parallel()
	addr := freeport.Addr()
	p := newProcess(t, map[string]string{"CODEXGW_ADDR": addr})
	p.OwnListener = true
	opening, release := p.held()
	done := make(chan int, 1)
	go func() {
		done <- boot.Main(context.Background(), p.Process, func(_ context.Context, rt *chassis.Runtime, _ settings, parts *boot.Parts) (chassis.Service, error) {
			parts.Mux.Handle("GET /health", rt.Health.Live())
			return &server{*parts}, nil
		})
	}()
	<-opening
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /health HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	close(release)
	if raw, err := io.ReadAll(conn); err != nil || !strings.Contains(string(raw), "healthy") {
		t.Errorf("a request from before the service was built: %q, %v", raw, err)
	}
	p.signals <- syscall.SIGTERM
	if code := <-done; code != chassis.ExitOK {
		t.Errorf("exit code %d\n%s", code, p.log)
	}
	refusedAt(t, addr)
}

func TestAServiceThatCannotBeBuiltLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	for name, own := range map[string]bool{"served by boot": false, "served by itself": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := freeport.Addr()
			p := newProcess(t, map[string]string{"CODEXGW_ADDR": addr})
			p.OwnListener = own
			code := boot.Main(context.Background(), p.Process, func(context.Context, *chassis.Runtime, settings, *boot.Parts) (chassis.Service, error) {
				return nil, errors.New("no such program")
			})
			if code != chassis.ExitFailed || !strings.Contains(p.log.String(), "no such program") {
				t.Errorf("exit code %d\n%s", code, p.log)
			}
			if got := p.all(); !slices.Equal(got, []string{"platform closed"}) {
				t.Errorf("steps %q", got)
			}
			refusedAt(t, addr)
		})
	}
}
