package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// endpoint is where a gateway is and the key to it.
type endpoint struct {
	URL string `json:"url"`
	// KeyFile holds the key.
	KeyFile string `json:"key_file"`
	key     string
}

// readKey reads the key.
func (e *endpoint) readKey() error {
	raw, err := os.ReadFile(e.KeyFile)
	e.key = strings.TrimSpace(string(raw))
	return err
}

// gateway is a running gateway of some kind.
type gateway struct {
	*program
	endpoint
	// ready is how long the start took until the ready line.
	ready time.Duration
}

// up starts codexgw up and waits for its ready line.
func (b *bench) up(ctx context.Context, dir, addr string, env []string, args ...string) (*gateway, error) {
	args = append([]string{"up", "--data", dir, "--addr", addr}, args...)
	p, err := b.launch(ctx, append([]string{"CODEXGW_CODEX=" + b.codex.Dir, "CODEXGW_LOG_FORMAT=text", "CODEXGW_RATE_LIMIT_ADMIN=" + strconv.Itoa(benchRate)}, env...), b.gateway, args...)
	if err != nil {
		return nil, err
	}
	return greeted(ctx, p)
}

// greeted waits for a program's line `ready {"url","key_file"}`, and stops it
// when there is none.
func greeted(ctx context.Context, p *program) (*gateway, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, fmt.Errorf("no ready line within %s", readyLimit))
	defer cancel()
	g := &gateway{program: p}
	line, err := p.line(ctx)
	g.ready = time.Since(p.begun)
	if err == nil {
		err = json.Unmarshal([]byte(strings.TrimPrefix(line, "ready ")), &g.endpoint)
	}
	if err == nil {
		err = g.readKey()
	}
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return g, nil
}
