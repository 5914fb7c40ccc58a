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
)

// nativeConfig makes Codex work without the internet, as cheaply as it can: no
// plugins, no apps, no update check, nothing sent home. The gateway gives its
// jobs no less and no more.
const nativeConfig = `model = "gpt-5.5"
model_provider = "bench"
approval_policy = "never"
sandbox_mode = "workspace-write"
check_for_update_on_startup = false
web_search = "disabled"
[model_providers.bench]
name = "bench"
base_url = "%s"
wire_api = "responses"
experimental_bearer_token = "mock"
supports_websockets = false
[features]
plugins = false
apps = false
goals = false
unbounded_connection_retries = false
[agents]
enabled = false
[skills]
include_instructions = false
[analytics]
enabled = false
[feedback]
enabled = false
[projects."%s"]
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
	return n, os.WriteFile(filepath.Join(home, "config.toml"), fmt.Appendf(nil, nativeConfig, modelURL, n.dir), 0o600)
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
