package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/pkg/wait"
)

const (
	idleFor    = 10 * time.Second
	idleLimit  = 60 // MiB
	starts     = 5
	startLimit = 300 // ms
	// sandboxedLimit is larger: a gateway is ready when its worker has run commands in
	// the sandbox and seen that it denies what it must.
	sandboxedLimit = 2000 // ms
	healthEvery    = 2 * time.Millisecond
)

// measureIdle takes the memory of a gateway that was left alone after its
// start, without the Codex processes it keeps warm.
func measureIdle(ctx context.Context, b *bench) (_ []figure, err error) {
	g, err := b.up(ctx, filepath.Join(b.dir, "idle"), "127.0.0.1:0", nil, "--mock-model")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	if !wait.For(ctx, idleFor) {
		return nil, context.Cause(ctx)
	}
	pid := g.cmd.Process.Pid
	rss, detail, err := memory(ctx, pid)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(b.gateway); err == nil {
		detail["program_mib"] = round(float64(info.Size()) / (1 << 20))
	}
	return []figure{atMost(idleLimit, "idle_rss", rss, "MiB", 1, detail)}, nil
}

// memory is the resident memory of a process in MiB; where the system says
// more, how much is shared and how much its own.
func memory(ctx context.Context, pid int) (rss float64, detail map[string]any, err error) {
	detail = map[string]any{}
	kib := func(file, name string) (float64, bool) {
		value, _, _ := strings.Cut(procField(file, name), " ")
		n, err := strconv.ParseFloat(value, 64)
		return round(n / 1024), err == nil
	}
	status, rollup := fmt.Sprintf("/proc/%d/status", pid), fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	for name, field := range map[string]string{"anonymous_mib": "RssAnon", "file_mib": "RssFile"} {
		if n, ok := kib(status, field); ok {
			detail[name] = n
		}
	}
	if n, ok := kib(rollup, "Pss"); ok {
		detail["pss_mib"] = n
	}
	clean, ok := kib(rollup, "Private_Clean")
	dirty, _ := kib(rollup, "Private_Dirty")
	if ok {
		detail["private_mib"] = round(clean + dirty)
	}
	if rss, ok := kib(status, "VmRSS"); ok {
		return rss, detail, nil
	}
	n, err := strconv.ParseFloat(output(ctx, "ps", "-o", "rss=", "-p", strconv.Itoa(pid)), 64)
	if err != nil {
		return 0, nil, fmt.Errorf("resident memory not known: %w", err)
	}
	return round(n / 1024), detail, nil
}

// measureStart takes the time from the start of the program until it answers
// GET /health, and until it says that it is ready to work. Each data directory
// is used twice: new, and as a restart finds it.
func measureStart(ctx context.Context, b *bench) ([]figure, error) {
	var health, ready [2]times
	for i := range starts {
		dir := filepath.Join(b.dir, fmt.Sprintf("start%d", i))
		for again := range 2 {
			h, r, err := b.startOnce(ctx, dir)
			if err != nil {
				return nil, err
			}
			health[again], ready[again] = append(health[again], h), append(ready[again], r)
		}
	}
	figureOf := func(name string, limit float64, t *[2]times) figure {
		return atMost(limit, name, millis(t[0].median()), "ms", starts, map[string]any{
			"new": t[0].spread(), "restart": t[1].spread(),
		})
	}
	return []figure{figureOf("start_health", startLimit, &health), figureOf("start_ready", sandboxedLimit, &ready)}, nil
}

// startOnce starts a gateway and stops it again.
func (b *bench) startOnce(ctx context.Context, dir string) (health, ready time.Duration, err error) {
	addr := freeport.Addr()
	// The first answer is looked for beside the wait for the ready line.
	asking, cancel := context.WithTimeout(ctx, readyLimit)
	answered := make(chan time.Time, 1)
	go func() { answered <- firstAnswer(asking, "http://"+addr+"/health") }()
	g, err := b.up(ctx, dir, addr, nil, "--mock-model")
	if err != nil {
		cancel()
		<-answered
		return 0, 0, err
	}
	at := <-answered
	cancel()
	if at.IsZero() {
		err = errors.New("no answer to GET /health")
	}
	return at.Sub(g.begun), g.ready, errors.Join(err, g.stop())
}

// firstAnswer is when a URL first answered 200; zero when ctx ended before.
func firstAnswer(ctx context.Context, url string) time.Time {
	transport := &http.Transport{DisableKeepAlives: true}
	for wait.For(ctx, healthEvery) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return time.Time{}
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			continue // nobody listens yet
		}
		at := time.Now()
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return at
		}
	}
	return time.Time{}
}
