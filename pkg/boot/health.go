package boot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/pkg/chassis"
)

// healthTimeout bounds the question; a container's own limit is usually longer.
const healthTimeout = 3 * time.Second

// healthConfig is where the service answers.
type healthConfig struct {
	Listen   chassis.ListenConfig
	Internal string `env:"CODEXGW_INTERNAL_ADDR"`
}

// healthcheck asks the service that runs with the same environment for GET
// /health, on its listener or else on the internal one.
func healthcheck(ctx context.Context, lookup envconfig.Lookuper) error {
	cfg, err := chassis.Load[healthConfig](ctx, lookup)
	if err != nil {
		return err
	}
	addr := cfg.Listen.Address()
	if cfg.Listen.Addr == "" && cfg.Listen.Port == 0 && cfg.Internal != "" {
		addr = cfg.Internal
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("health check: %w", err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeoutCause(ctx, healthTimeout, errors.New("no answer in time"))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/health", http.NoBody)
	if err != nil {
		return fmt.Errorf("health check: %w", err)
	}
	transport := &http.Transport{DisableKeepAlives: true} // no proxy: it is this machine
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("health check: %w", err)
	}
	_ = resp.Body.Close() // nothing of it was wanted
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("health check: status %d", resp.StatusCode)
	}
	return nil
}
