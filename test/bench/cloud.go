package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/pkg/gcp"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/pkg/wait"
	"codexgateway.dev/test/localcloud"
)

const (
	binaryLimitMiB = 32
	listenLimitMS  = 60
	listenStarts   = 15

	cloudPairs = 25
	cloudWarm  = 5
	// cloudRatio: a job goes over the bus twice before its watcher sees it run.
	cloudRatio = 1

	cloudKey = "cgw_bench"
)

// services are the programs of a deployment on Google Cloud.
func services() []string { return []string{"edge", "worker", "notifier", "reconciler"} }

// service is the path of a service's program, beside the gateway's.
func (b *bench) service(name string) string { return filepath.Join(filepath.Dir(b.gateway), name) }

// measureServices takes the sizes of the services' programs, and how long each
// takes until it listens. Nothing that it depends on is there: a service that
// waited for Google Cloud before it listened would be killed as not starting.
func measureServices(ctx context.Context, b *bench) ([]figure, error) {
	var figures []figure
	for _, name := range services() {
		st, err := os.Stat(b.service(name))
		if err != nil {
			return nil, fmt.Errorf("%w: run `make build`", err)
		}
		var starts times
		for range listenStarts {
			took, err := b.listenOnce(ctx, name)
			if err != nil {
				return nil, err
			}
			starts = append(starts, took)
		}
		figures = append(figures,
			atMost(binaryLimitMiB, "binary_"+name, float64(st.Size())/(1<<20), "MiB", 1, map[string]any{}),
			atMost(listenLimitMS, "listen_"+name, millis(starts.median()), "ms", len(starts), starts.spread()))
	}
	return figures, nil
}

// listenOnce starts a service and waits until its port takes a connection.
func (b *bench) listenOnce(ctx context.Context, name string) (_ time.Duration, err error) {
	addr := freeport.Addr()
	env := append(nowhere(), b.serviceEnv(name, addr)...)
	p, err := b.launch(ctx, env, b.service(name))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, fmt.Errorf("%s did not listen within %s", name, readyLimit))
	defer cancel()
	var dialer net.Dialer
	for {
		if conn, err := dialer.DialContext(ctx, "tcp", addr); err == nil {
			return time.Since(p.begun), conn.Close()
		}
		select {
		case <-p.ended:
			return 0, fmt.Errorf("%s ended: %w\n%s", name, p.err, p.errs)
		default:
		}
		if !wait.For(ctx, 200*time.Microsecond) {
			return 0, context.Cause(ctx)
		}
	}
}

// nowhere is a Google Cloud that does not answer.
func nowhere() []string {
	const closed = "127.0.0.1:1"
	return []string{
		"CODEXGW_PLATFORM=gcp", "GOOGLE_CLOUD_PROJECT=bench", "CODEXGW_BUCKET=bench", "CODEXGW_SECRETS=env",
		"PUBSUB_EMULATOR_HOST=" + closed, "FIRESTORE_EMULATOR_HOST=" + closed, "STORAGE_EMULATOR_HOST=" + closed,
	}
}

// serviceEnv is what one service needs beside the platform.
func (b *bench) serviceEnv(name, addr string) []string {
	_, port, _ := net.SplitHostPort(addr) // it is one of ours
	return []string{
		"PORT=" + port, "CODEXGW_ADDR=" + addr, "CODEXGW_ADMIN_KEY=" + cloudKey, "CODEXGW_LOG_FORMAT=json",
		"CODEXGW_RATE_LIMIT_ADMIN=" + strconv.Itoa(benchRate),
		"CODEXGW_CODEX=" + b.codex.Dir, "CODEXGW_WORKER_DIR=" + filepath.Join(b.dir, "cloud", name),
	}
}

// measureCloud compares, in turns, a bare message over the Pub/Sub emulator with
// a job over edge, worker and emulators: from the submit to the moment a
// WebSocket client sees that the job runs, which is two messages and what is
// stored between them.
func measureCloud(ctx context.Context, b *bench) (_ []figure, err error) {
	cloud, err := localcloud.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cloud.Stop()) }()
	model, err := mockmodel.Start(ctx, mockmodel.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, model.Stop(context.WithoutCancel(ctx))) }()
	project, err := cloud.NewProject(ctx, "no-key-is-needed")
	if err != nil {
		return nil, err
	}
	e, stop, err := b.deploy(ctx, project, model.BaseURL())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	s, err := dial(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	bare, end, err := newBare(ctx, project)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	return cloudRounds(ctx, s, bare)
}

func cloudRounds(ctx context.Context, s *socket, bare *bareBus) ([]figure, error) {
	var messages, running, firstCodex, total times
	for i := range cloudPairs + cloudWarm {
		if i == cloudWarm {
			messages, running, firstCodex, total = nil, nil, nil, nil
		}
		took, err := bare.once(ctx)
		if err != nil {
			return nil, err
		}
		h, err := s.hello(ctx)
		if err != nil {
			return nil, err
		}
		messages, running, firstCodex, total = append(messages, took), append(running, h.running), append(firstCodex, h.first), append(total, h.total)
	}
	codexStart := firstCodex.median() - running.median()
	ratio := float64(running.median()) / float64(2*messages.median()+codexStart)
	return []figure{
		atMost(cloudRatio, "cloud_first_event_ratio", ratio, "ratio", cloudPairs, map[string]any{
			"bus_publish_to_receive": messages.spread(), "submit_to_running": running.spread(),
			"submit_to_first_codex_event": firstCodex.spread(), "submit_to_end": total.spread(), "codex_start_ms": millis(codexStart),
		}),
	}, nil
}

// deploy starts an edge, a worker and a reconciler in a project.
func (b *bench) deploy(ctx context.Context, project *localcloud.Project, modelURL string) (_ *endpoint, stop func() error, err error) {
	var running []*program
	stop = func() error {
		var all []error
		for _, p := range slices.Backward(running) {
			all = append(all, p.stop())
		}
		return errors.Join(all...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	vars := project.Env()
	env := make([]string, 0, len(vars))
	for k, v := range vars {
		env = append(env, k+"="+v)
	}
	e := &endpoint{key: cloudKey}
	for _, name := range []string{"reconciler", "worker", "edge"} {
		addr := freeport.Addr()
		p, err := b.launch(ctx, slices.Concat(env, b.serviceEnv(name, addr), []string{"CODEXGW_MODEL_BASE_URL=" + modelURL}), b.service(name))
		if err != nil {
			return nil, nil, err
		}
		running = append(running, p)
		if err := serviceReady(ctx, p, "http://"+addr+"/ready"); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		e.URL = "http://" + addr // the last is the edge
	}
	return e, stop, nil
}

func serviceReady(ctx context.Context, p *program, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, fmt.Errorf("not ready within %s", readyLimit))
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %w\n%s", p.err, p.errs)
		default:
		}
		if !wait.For(ctx, 20*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// bareBus sends messages to itself over the same driver as the services.
type bareBus struct {
	bus  *bus.Bus
	came chan time.Time
}

func newBare(ctx context.Context, project *localcloud.Project) (_ *bareBus, end func() error, err error) {
	cfg, err := project.Config(ctx)
	if err != nil {
		return nil, nil, err
	}
	pf, err := gcp.Open(ctx, cfg, gcp.Deps{Schema: schema.All(), Instance: "bench"})
	if err != nil {
		return nil, nil, err
	}
	x := &bareBus{bus: pf.Bus, came: make(chan time.Time, 1)}
	ready, done := make(chan struct{}), make(chan error, 1)
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() { // ends with life
		done <- pf.Bus.Receive(life, events.SubKeyControlEdge, bus.ReceiveOptions{MaxOutstanding: 1, Ready: ready},
			func(context.Context, *bus.Delivery) bus.Outcome {
				select {
				case x.came <- time.Now():
				default: // a copy
				}
				return bus.Outcome{Verdict: bus.Ack}
			})
	}()
	end = func() error {
		cancel()
		return errors.Join(<-done, pf.Close())
	}
	select {
	case <-ready:
		return x, end, nil
	case <-ctx.Done():
		return nil, nil, errors.Join(context.Cause(ctx), end())
	}
}

// once is the time of one message from the publisher to the receiver.
func (x *bareBus) once(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, helloLimit)
	defer cancel()
	ev, err := events.New(events.Head{ID: fmt.Sprint("bench-", time.Now().UnixNano()), Source: "/codexgw/bench", Subject: "key_bench", Time: time.Now()},
		events.KeyRevoked{KeyID: "key_bench", Tenant: "bench"})
	if err != nil {
		return 0, err
	}
	select {
	case <-x.came: // a copy of the message before
	default:
	}
	begin := time.Now()
	if err := x.bus.Publish(ctx, ev); err != nil {
		return 0, err
	}
	select {
	case at := <-x.came:
		return at.Sub(begin), nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
