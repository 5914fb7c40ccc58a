package e2e_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/test/localcloud"
)

// platformVar chooses the platform of all tests: embedded (default) or gcp.
const platformVar = "CODEXGW_TEST_PLATFORM"

func onCloud() bool { return os.Getenv(platformVar) == "gcp" }

// embeddedOnly skips a test of what only one process on one machine has.
func embeddedOnly(t *testing.T, why string) {
	t.Helper()
	if onCloud() {
		t.Skip("only on the embedded platform: " + why)
	}
}

// startCloud starts what all gateways of the tests run on.
func startCloud(ctx context.Context) (stop func() error, err error) {
	if tests.cloud, err = localcloud.Start(ctx); err != nil {
		return nil, err
	}
	if tests.model, err = mockmodel.Start(ctx, mockmodel.Options{}); err != nil {
		return nil, errors.Join(err, tests.cloud.Stop())
	}
	return func() error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_ = tests.model.Stop(ctx) // connections of a killed worker may hold it
		return tests.cloud.Stop()
	}, nil
}

// cloudOnly skips a test of what only separate services on Google Cloud have.
func cloudOnly(t *testing.T, why string) {
	t.Helper()
	if !onCloud() {
		t.Skip("only on Google Cloud: " + why)
	}
}

// deployment says what a gateway on Google Cloud consists of; the zero value is
// one process of each service on what all tests share.
type deployment struct {
	// on is what it runs on; nil: what all tests share.
	on *localcloud.Cloud
	// lanes is one subscription of job commands for each lane.
	lanes bool
	// absent leaves the project empty and does not wait until the processes are
	// ready, which they then cannot be.
	absent bool
	// workers is how many workers there are; -1: none.
	workers int
	// env are more variables of one service's processes, by service.
	env map[string]map[string]string
}

// planCloud is a deployment in a project of its own.
func (g *gateway) planCloud() error {
	g.common = map[string]string{
		// The times of one machine, which the tests are written for.
		"CODEXGW_RECONCILE_INTERVAL": "1s", "CODEXGW_RECONCILE_IDLE_INTERVAL": "1s",
		"CODEXGW_DELTA_DELAY": "25ms",
	}
	own := maps.Clone(g.opt.env)
	if own == nil {
		own = map[string]string{}
	}
	key := "no-key-is-needed"
	if !g.opt.realModel {
		g.common["CODEXGW_MODEL_BASE_URL"] = tests.model.BaseURL()
	}
	for _, name := range []string{"OPENAI_API_KEY", "CODEXGW_SECRET_OPENAI_API_KEY"} {
		if v, ok := own[name]; ok {
			key = v
			delete(own, name)
		}
	}
	on := g.opt.deploy.on
	if on == nil {
		on = tests.cloud
	}
	g.project = on.EmptyProject(key)
	g.project.Lanes = g.opt.deploy.lanes
	if !g.opt.deploy.absent {
		if err := g.project.Bootstrap(context.Background()); err != nil {
			return err
		}
	}
	maps.Copy(g.common, g.project.Env())
	maps.Copy(g.common, own)

	edges, workers, reconcilers := 1, 1, 1
	if g.opt.wide {
		edges, workers, reconcilers = 2, 3, 2
	}
	if n := g.opt.deploy.workers; n != 0 {
		workers = max(n, 0)
	}
	if err := os.MkdirAll(g.dir, 0o711); err != nil {
		return err
	}
	admin := secret.NewValue("cgw_e2e_" + rand.Text())
	if err := os.WriteFile(filepath.Join(g.dir, "admin.key"), []byte(admin.Reveal()+"\n"), 0o600); err != nil {
		return err
	}
	var urls []string
	for range edges {
		n := g.addNode("edge", map[string]string{"CODEXGW_ADMIN_KEY": admin.Reveal()})
		urls = append(urls, n.url())
	}
	for range workers {
		g.addNode("worker", nil)
	}
	for range reconcilers {
		g.addNode("reconciler", nil)
	}
	g.addNode("notifier", nil)
	return g.connect(admin, urls...)
}

// addNode adds a process of a service; launch starts it.
func (g *gateway) addNode(service string, own map[string]string) *node {
	i := len(g.nodesOf(service))
	addr := freeport.Addr()
	_, port, _ := strings.Cut(addr, ":")
	env := maps.Clone(g.common)
	maps.Copy(env, map[string]string{"PORT": port, "CODEXGW_ADDR": addr})
	if service == "worker" {
		dir := filepath.Join(g.dir, fmt.Sprint("worker-", i))
		if i == 0 {
			dir = filepath.Join(g.dir, "jobs") // where that of one process has it
		}
		codex := g.opt.codex
		if codex == "" {
			codex = tests.codex.Dir
		}
		maps.Copy(env, map[string]string{"CODEXGW_WORKER_DIR": dir, "CODEXGW_CODEX": codex})
	}
	maps.Copy(env, g.opt.deploy.env[service])
	maps.Copy(env, own)
	n := &node{
		name: fmt.Sprintf("%s-%d", service, i), program: filepath.Join(tests.services, service), env: env, listen: addr,
		first: g.opt.first && service == "worker", stdout: &capture{}, stderr: &capture{},
	}
	g.nodes = append(g.nodes, n)
	return n
}

// nodesOf are the processes of a service.
func (g *gateway) nodesOf(service string) []*node {
	var all []*node
	for _, n := range g.nodes {
		if strings.HasPrefix(n.name, service+"-") {
			all = append(all, n)
		}
	}
	return all
}

// launchCloud starts every process and waits until all are ready.
func (g *gateway) launchCloud() error {
	for _, n := range g.nodes {
		if err := n.begin(); err != nil {
			return errors.Join(err, g.stop())
		}
	}
	if g.opt.deploy.absent {
		return nil
	}
	return g.allReady()
}

// allReady waits until every process is ready.
func (g *gateway) allReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for _, n := range g.nodes {
		if err := n.isReady(ctx); err != nil {
			return errors.Join(err, g.stop())
		}
	}
	return nil
}

// begin starts the process and keeps what it prints.
func (n *node) begin() error {
	out, err := n.spawn()
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(n.stdout, out) }() // ends with the process
	return nil
}

// url is that of the process's listener.
func (n *node) url() string { return "http://" + n.listen }

// isReady waits until the process says that it is ready.
func (n *node) isReady(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.listen+"/ready", http.NoBody)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-n.done:
			return n.ended()
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready in %v\n%s", n.name, startLimit, tail(n.stderr.String(), 4000))
		}
	}
}
