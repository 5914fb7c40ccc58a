package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/client"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/test/localcloud"
)

const (
	// startLimit, stopLimit and jobLimit are far above what is measured, on a busy
	// machine too: they end a test that hangs, they do not measure anything. What
	// must not go on by itself, such as a command that is stopped, goes on longer.
	startLimit = 4 * time.Minute
	stopLimit  = 2 * time.Minute
	jobLimit   = 5 * time.Minute
)

// options say how a gateway is started.
type options struct {
	// realModel leaves the mock model out.
	realModel bool
	// codex is the Codex to use; empty: the real one.
	codex string
	// data is the data directory; empty: one of its own.
	data string
	// first makes the gateway the first process of a PID namespace, as it is in a
	// container without an init.
	first bool
	// wide is, where services are separate processes, 2 edges, 3 workers and 2
	// reconcilers; else there is one of each.
	wide bool
	// mayFail allows errors in the log: what is done to the gateway is its fault.
	mayFail bool
	// env are variables on top of the small environment all gateways get.
	env map[string]string
	// deploy says more where services are separate processes.
	deploy deployment
}

// gateway is a running gateway, and a client of it: one process on the embedded
// platform, many on Google Cloud.
type gateway struct {
	opt   options
	addr  string
	nodes []*node
	// project and common are, where services are separate processes, what they
	// run in and the variables of all.
	project *localcloud.Project
	common  map[string]string

	dir string
	// url is that of the first edge, urls are those of all.
	url  string
	urls []string
	key  secret.Value
	*client.Client

	// left are processes that a kill has left and the next start must end.
	left []procInfo
}

// start starts a gateway that ends with the test.
func start(t *testing.T, opt options) *gateway {
	t.Helper()
	select {
	case tests.running <- struct{}{}:
	case <-t.Context().Done():
		t.Fatal("the test ended before a gateway could be started")
	}
	t.Cleanup(func() { <-tests.running })
	if opt.data == "" {
		opt.data = dataDir(t)
	}
	g := newGateway(opt)
	t.Cleanup(func() {
		for _, p := range alive(g.left) { // it was not started again
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		if err := errors.Join(g.stop(), g.healthy()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, n := range g.nodes {
				t.Logf("log of %s:\n%s", n.name, tail(n.stderr.String(), 12_000/len(g.nodes)))
			}
		}
	})
	g.up(t)
	return g
}

func newGateway(opt options) *gateway { return &gateway{opt: opt, dir: opt.data} }

// dataDir is an empty directory where a gateway may keep its data.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(tests.base, "data-") //nolint:usetesting // not below the temporary directory, which a gateway refuses
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// up starts the processes and waits until they serve. Started anew they have
// the same addresses, so that watchers find them again.
func (g *gateway) up(t *testing.T) {
	t.Helper()
	if err := g.launch(); err != nil {
		t.Fatal(err)
	}
	if left := alive(g.left); len(left) > 0 {
		t.Errorf("processes outlive the kill of the gateway and its next start: %v", left)
	}
}

func (g *gateway) launch() error {
	if g.nodes == nil {
		plan := g.planEmbedded
		if onCloud() {
			plan = g.planCloud
		}
		if err := plan(); err != nil {
			return err
		}
	}
	if onCloud() {
		return g.launchCloud()
	}
	return g.launchEmbedded()
}

// connect makes the client of a gateway that serves.
func (g *gateway) connect(key secret.Value, urls ...string) (err error) {
	if g.Client != nil { // a restart; others may be using the client
		if urls[0] != g.url || !key.Equal(g.key) {
			return fmt.Errorf("the restarted gateway has another address or key: %s", urls[0])
		}
		return nil
	}
	g.url, g.urls, g.key = urls[0], urls, key
	g.Client, err = client.New(client.Options{URL: g.url, Key: g.key, Timeout: 60 * time.Second})
	return err
}

// anyURL is the address of one of the edges: whoever watches a job need not be
// where it was submitted.
func (g *gateway) anyURL() string { return g.urls[rand.IntN(len(g.urls))] }

// Watch follows a job at any of the edges.
func (g *gateway) Watch(ctx context.Context, jobID string, after int64, on func(apiv1.Event) error) (int64, error) {
	c, err := client.New(client.Options{URL: g.anyURL(), Key: g.key, Timeout: 60 * time.Second})
	if err != nil {
		return after, err
	}
	return c.Watch(ctx, jobID, after, on)
}

// environment is that of a process under test: nothing of the developer's own
// settings gets in.
func environment(extra map[string]string) []string {
	env := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": tests.base, "LANG": "C.UTF-8", "CODEXGW_LOG_FORMAT": "json",
		"CODEXGW_WORKER_WARM": "1", "CODEXGW_LEASE": calmLease.String(), "GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_SYSTEM": os.DevNull,
	}
	maps.Copy(env, extra)
	var out []string
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	return out
}

// log is what all processes printed on standard error.
func (g *gateway) log() string {
	var all strings.Builder
	for _, n := range g.nodes {
		all.WriteString(n.stderr.String())
	}
	return all.String()
}

// printed is what all processes printed on standard output.
func (g *gateway) printed() string {
	var all strings.Builder
	for _, n := range g.nodes {
		all.WriteString(n.stdout.String())
	}
	return all.String()
}

// below is every process that the gateway's own have started.
func (g *gateway) below() []procInfo {
	var all []procInfo
	for _, n := range g.nodes {
		if n.runs() {
			all = append(all, descendants(n.pid())...)
		}
	}
	return all
}

// terminate asks the gateway to end, as an orchestrator does, and checks that
// it leaves cleanly and no process behind.
func (g *gateway) terminate(t *testing.T) {
	t.Helper()
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
}

// kill ends all of the gateway without a warning.
func (g *gateway) kill(t *testing.T) {
	t.Helper()
	below := g.below()
	for _, n := range g.nodes {
		n.kill(t)
	}
	for _, n := range g.nodes {
		n.wait(t)
	}
	eventually(t, "the processes of a killed gateway end", func() bool { return len(running(alive(below))) == 0 })
	g.left = append(g.left, alive(below)...)
}

// stop is terminate without a test; a gateway that does not run is fine.
func (g *gateway) stop() error {
	problems := make([]error, len(g.nodes))
	var all sync.WaitGroup
	for i, n := range g.nodes {
		all.Go(func() { problems[i] = n.stop() })
	}
	all.Wait()
	return errors.Join(problems...)
}

// healthy checks the log for what must never be in it: the gateway's own
// failures, and what the Go runtime prints about a crash or a data race.
func (g *gateway) healthy() error {
	words := []string{"panic: ", "\"panic\":", "goroutine ", "DATA RACE", "fatal error: "}
	if !g.opt.mayFail {
		words = append(words, `"severity":"ERROR"`, `"severity":"CRITICAL"`)
	}
	for line := range strings.Lines(g.log()) {
		for _, word := range words {
			if strings.Contains(line, word) {
				return fmt.Errorf("in the gateway's log: %s", line)
			}
		}
	}
	return nil
}
