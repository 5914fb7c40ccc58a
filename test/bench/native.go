package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"codexgateway.dev/pkg/mockmodel"
)

// nativeConfig has what the gateway gives its jobs, no less and no more.
const nativeConfig = `model = "gpt-5.5"
approval_policy = "never"
sandbox_mode = "workspace-write"
%s
[projects.%q]
trust_level = "untrusted"
`

// native is codex exec as somebody would run it by hand: the native program
// without the npm wrapper, in a CODEX_HOME that was used before.
type native struct {
	program, dir string
	env          []string
}

func newNative(b *bench, modelURL string) (*native, error) {
	n := &native{program: b.codex.Binary, dir: filepath.Join(b.dir, "native", "work")}
	home, tmp := filepath.Join(b.dir, "native", "home"), filepath.Join(b.dir, "native", "tmp")
	for _, dir := range []string{n.dir, home, tmp} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	n.env = append(b.env(), "CODEX_HOME="+home, "TMPDIR="+tmp)
	return n, os.WriteFile(filepath.Join(home, "config.toml"), fmt.Appendf(nil, nativeConfig, mockmodel.CodexConfig(modelURL, "mock"), n.dir), 0o600)
}

// run is one codex exec, from before its start until it has ended, and until it
// said that the turn is over.
func (n *native) run(ctx context.Context) (total, turn time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, helloLimit, fmt.Errorf("codex exec not finished within %s", helloLimit))
	defer cancel()
	var errs tail
	cmd := exec.CommandContext(ctx, n.program, "exec", "--json", "--skip-git-repo-check", prompt)
	cmd.Dir, cmd.Env, cmd.Stderr = n.dir, n.env, &errs // no Stdin: it is the null device
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"type":"turn.completed"`) {
			turn = time.Since(begin)
		}
	}
	err = errors.Join(lines.Err(), cmd.Wait())
	total = time.Since(begin)
	if err == nil && turn == 0 {
		err = errors.New("no turn.completed")
	}
	if err != nil {
		return 0, 0, fmt.Errorf("codex exec: %w\n%s", err, &errs)
	}
	return total, turn, nil
}
