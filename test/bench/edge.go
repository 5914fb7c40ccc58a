package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/embedded"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/edge"
)

// benchRate is a limit that nobody reaches: what it costs to count is measured,
// not what it is to be refused.
const benchRate = 1_000_000_000

// startEdge starts this program anew as an edge without a worker.
func (b *bench) startEdge(ctx context.Context, name string) (*gateway, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := b.launch(ctx, []string{"CODEXGW_SECRET_KEY_PEPPER=" + strings.Repeat("bench", 8)}, self, "-edge", filepath.Join(b.dir, name))
	if err != nil {
		return nil, err
	}
	return greeted(ctx, p)
}

// edgeProcess is the embedded platform and an edge, and a hand that writes as a
// worker does.
type edgeProcess struct {
	jobs  *job.Store
	clock *commitClock
	lines *bufio.Scanner
	out   io.Writer
}

// serveEdge serves until ctx ends or the input does. Each line of the input is
// a writing job, see write.go.
func serveEdge(ctx context.Context, dir string, in io.Reader, out io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var subs []events.Subscription
	for _, s := range events.Subscriptions {
		if s.Name == events.SubJobProgressEdge || s.Name == events.SubKeyControlEdge { // the others would fill: nobody hears them here
			subs = append(subs, s)
		}
	}
	pf, err := embedded.Open(ctx, embedded.Config{Dir: dir, Schema: schema.All(), Subscriptions: subs, Logger: log, LookupEnv: os.LookupEnv})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pf.Close()) }()
	clock := &commitClock{Driver: pf.Docs}
	docs, err := docstore.New(clock, schema.All(), docstore.Options{Logger: log})
	if err != nil {
		return err
	}
	jobs, err := job.NewStore(job.Deps{
		Docs: docs, Blobs: pf.Blobs, Bus: pf.Bus, Source: "/codexgw/bench", Now: time.Now, Logger: log,
		PutBlob: func(ctx context.Context, name string, data []byte) error { return pf.WriteBlob(ctx, name, data, "") },
	})
	if err != nil {
		return err
	}
	const key = "cgw_bench_0123456789abcdef"
	svc, err := edge.New(edge.Config{
		Listen: chassis.ListenConfig{Addr: "127.0.0.1:0"}, AdminKey: secret.NewValue(key), DrainTimeout: time.Second,
		RateLimitAdmin: benchRate,
	}, edge.Deps{
		Jobs: jobs, Docs: docs, Bus: pf.Bus, Secrets: pf.Secrets, Blobs: pf.Blobs, BlobHandler: pf.BlobHandler,
		Health: chassis.NewHealth(log), Logger: log, Now: time.Now, Version: "bench",
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	served := make(chan error, 1)
	go func() { served <- svc.Run(ctx) }()
	select {
	case <-svc.Ready():
	case err := <-served:
		return err
	}
	end := endpoint{URL: "http://" + svc.Addr().String(), KeyFile: filepath.Join(dir, "bench.key")}
	if err := os.WriteFile(end.KeyFile, []byte(key), 0o600); err != nil {
		return err
	}
	e := &edgeProcess{jobs: jobs, clock: clock, lines: bufio.NewScanner(in), out: out}
	if err := e.reply("ready ", end); err != nil {
		return err
	}
	// Reading the input cannot be interrupted, so it has no part in the stop:
	// the process ends while it reads.
	obeyed := make(chan error, 1)
	go func() { obeyed <- e.obey(ctx) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	case err = <-obeyed:
	}
	cancel(nil)
	return errors.Join(err, <-served)
}

// obey does what the input says until it ends.
func (e *edgeProcess) obey(ctx context.Context) error {
	for e.lines.Scan() {
		name, args, _ := strings.Cut(e.lines.Text(), " ")
		var err error
		switch name {
		case "stream":
			err = e.stream(ctx, args)
		case "append":
			err = e.append(ctx, args)
		case "finished":
			err = e.finished(ctx, args)
		case "quiet":
			err = e.quiet(ctx)
		case "grow":
			err = e.grow(ctx, args)
		case "fill":
			err = e.fill(ctx, args)
		case "memory":
			err = e.memory(ctx)
		default:
			err = fmt.Errorf("unknown command %q", name)
		}
		if err != nil {
			return err
		}
	}
	return e.lines.Err()
}

// reply writes a line.
func (e *edgeProcess) reply(prefix string, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "%s%s\n", prefix, line)
	return err
}
