package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/pkg/secret"
)

// planEmbedded is codexgw up.
func (g *gateway) planEmbedded() error {
	if g.addr == "" {
		g.addr = freeport.Addr()
	}
	args := []string{"up", "--addr", g.addr, "--data", g.dir}
	if g.opt.codex == "" {
		args = append(args, "--codex", tests.codex.Dir)
	} else {
		args = append(args, "--codex", g.opt.codex)
	}
	if !g.opt.realModel {
		args = append(args, "--mock-model")
	}
	g.nodes = []*node{{
		name: "the gateway", program: tests.gateway, args: args, env: g.opt.env, first: g.opt.first,
		stdout: &capture{}, stderr: &capture{},
	}}
	return nil
}

func (g *gateway) launchEmbedded() error {
	n := g.nodes[0]
	out, err := n.spawn()
	if err != nil {
		return err
	}
	ready := make(chan string, 1)
	go func() { // ends with the process's standard output
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			_, _ = io.WriteString(n.stdout, lines.Text()+"\n")
			if line, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				ready <- line
			}
		}
	}()
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case line := <-ready:
		return g.greeted(line)
	case <-n.done:
		return n.ended()
	case <-limit.C:
		return errors.Join(fmt.Errorf("the gateway was not ready in %v\n%s", startLimit, tail(n.stderr.String(), 4000)), g.stop())
	}
}

// greeted connects to the gateway that printed the ready line.
func (g *gateway) greeted(line string) error {
	var r struct {
		URL     string `json:"url"`
		KeyFile string `json:"key_file"`
	}
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return fmt.Errorf("ready line %q: %w", line, err)
	}
	if want := filepath.Join(g.dir, "admin.key"); r.KeyFile != want {
		return fmt.Errorf("key_file = %q, want %q", r.KeyFile, want)
	}
	raw, err := os.ReadFile(r.KeyFile)
	if err != nil {
		return err
	}
	return g.connect(secret.NewValue(strings.TrimSpace(string(raw))), r.URL)
}
