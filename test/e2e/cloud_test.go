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

// planCloud is a deployment in a project of its own.
func (g *gateway) planCloud() error {
	common := map[string]string{
		// The times of one machine, which the tests are written for.
		"CODEXGW_LEASE": "15s", "CODEXGW_RECONCILE_INTERVAL": "1s", "CODEXGW_RECONCILE_IDLE_INTERVAL": "1s",
		"CODEXGW_DELTA_DELAY": "25ms",
	}
	own := maps.Clone(g.opt.env)
	if own == nil {
		own = map[string]string{}
	}
	key := "no-key-is-needed"
	if !g.opt.realModel {
		common["CODEXGW_MODEL_BASE_URL"] = tests.model.BaseURL()
	}
	for _, name := range []string{"OPENAI_API_KEY", "CODEXGW_SECRET_OPENAI_API_KEY"} {
		if v, ok := own[name]; ok {
			key = v
			delete(own, name)
		}
	}
	project, err := tests.cloud.NewProject(context.Background(), key)
	if err != nil {
		return err
	}
	maps.Copy(common, project.Env())
	maps.Copy(common, own)

	edges, workers, reconcilers := 1, 1, 1
	if g.opt.wide {
		edges, workers, reconcilers = 2, 3, 2
	}
	if err := os.MkdirAll(g.dir, 0o711); err != nil {
		return err
	}
	admin := secret.NewValue("cgw_e2e_" + rand.Text())
	if err := os.WriteFile(filepath.Join(g.dir, "admin.key"), []byte(admin.Reveal()+"\n"), 0o600); err != nil {
		return err
	}
	add := func(service string, n int, env map[string]string) {
		addr := freeAddr()
		_, port, _ := strings.Cut(addr, ":")
		all := maps.Clone(common)
		maps.Copy(all, map[string]string{"PORT": port, "CODEXGW_ADDR": addr})
		maps.Copy(all, env)
		g.nodes = append(g.nodes, &node{
			name: fmt.Sprintf("%s-%d", service, n), program: filepath.Join(tests.services, service), env: all, listen: addr,
			first: g.opt.first && service == "worker", stdout: &capture{}, stderr: &capture{},
		})
	}
	var urls []string
	for i := range edges {
		add("edge", i, map[string]string{"CODEXGW_ADMIN_KEY": admin.Reveal()})
		urls = append(urls, "http://"+g.nodes[len(g.nodes)-1].listen)
	}
	codex := g.opt.codex
	if codex == "" {
		codex = tests.codex.Dir
	}
	for i := range workers {
		dir := filepath.Join(g.dir, fmt.Sprint("worker-", i))
		if i == 0 {
			dir = filepath.Join(g.dir, "jobs") // where that of one process has it
		}
		add("worker", i, map[string]string{"CODEXGW_WORKER_DIR": dir, "CODEXGW_CODEX": codex})
	}
	for i := range reconcilers {
		add("reconciler", i, nil)
	}
	add("notifier", 0, nil)
	return g.connect(admin, urls...)
}

// launchCloud starts every process and waits until all are ready.
func (g *gateway) launchCloud() error {
	for _, n := range g.nodes {
		out, err := n.spawn()
		if err != nil {
			return err
		}
		go func() { _, _ = io.Copy(n.stdout, out) }() // ends with the process
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for _, n := range g.nodes {
		if err := n.isReady(ctx); err != nil {
			return errors.Join(err, g.stop())
		}
	}
	return nil
}

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
