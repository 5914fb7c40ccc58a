package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"codexgateway.dev/services/worker/internal/jail"
)

// profile is the permission profile of the probe's command, the one jobs get:
// %s denies CODEX_HOME where the jail does not hide it.
const profile = `default_permissions = "probe"
[permissions.probe.filesystem]
":root" = "read"
":workspace_roots" = "write"
%s
[permissions.probe.network]
enabled = false
`

// script runs in Codex's sandbox and says what it could do, one word a line.
// Each word but the first two must not appear.
const script = `echo started
(echo x >"$1/written") 2>/dev/null && echo workspace
(echo x >"$2/written") 2>/dev/null && echo home_write
(read -r x <"$2/secret") 2>/dev/null && echo home_read
(echo x >"$3/written") 2>/dev/null && echo outside_write
(exec 3<>"/dev/tcp/127.0.0.1/$4") 2>/dev/null && echo network
exit 0`

// denied are the words of the script that must not appear, and what they mean.
var denied = []struct{ word, meaning string }{
	{"home_write", "a command can write in CODEX_HOME"},
	{"home_read", "a command can read CODEX_HOME"},
	{"outside_write", "a command can write outside the workspace"},
	{"network", "a command without network permission can reach loopback"},
}

const sandboxFix = "Run the worker where user namespaces may be nested: no AppArmor restriction of them, and in a container a seccomp profile that allows clone, unshare, mount and pivot_root and an unmasked /proc."

// sandbox runs one command in Codex's sandbox in the jail and judges both that
// it runs and what it could do.
func sandbox(ctx context.Context, l *jail.Launcher, profile string) []Result {
	said, err := try(ctx, l, profile)
	if err != nil {
		return append([]Result{{Name: Sandbox, Detail: err.Error(), Fix: sandboxFix}},
			unchecked("no command runs in the sandbox", Denials)...)
	}
	return judge(said)
}

// judge turns what the script said into results.
func judge(said map[string]bool) []Result {
	if !said["workspace"] {
		return append([]Result{{Name: Sandbox, Detail: "a command runs but cannot write in the workspace", Fix: sandboxFix}},
			unchecked("the sandbox does not work", Denials)...)
	}
	var broken []string
	for _, d := range denied {
		if said[d.word] {
			broken = append(broken, d.meaning)
		}
	}
	results := []Result{
		{Name: Sandbox, OK: true, Detail: "a command runs in it and writes in the workspace"},
		{Name: Denials, OK: true, Detail: "no network, no writing outside the workspace, no CODEX_HOME"},
	}
	if len(broken) > 0 {
		results[1] = Result{
			Name: Denials, Detail: strings.Join(broken, "; "),
			Fix: "Do not run jobs here. Check that the pinned Codex CLI is installed and that no file in /etc/codex loosens its sandbox.",
		}
	}
	return results
}

// try runs the script and returns what it said.
func try(ctx context.Context, l *jail.Launcher, profile string) (map[string]bool, error) {
	// The network check needs something that would answer.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	defer func() { _ = listener.Close() }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	dir, err := os.MkdirTemp("", "codexgw-probe-")
	if err != nil {
		return nil, fmt.Errorf("temporary directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s := jail.Spec{Home: filepath.Join(dir, "home"), Workspace: filepath.Join(dir, "work"), Tmp: filepath.Join(dir, "tmp")}
	for _, d := range []string{s.Home, s.Workspace, s.Tmp} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, fmt.Errorf("temporary directory: %w", err)
		}
	}
	paths := l.Paths(s)
	if strings.Contains(profile, "%s") {
		deny := ""
		if !strings.HasPrefix(paths.CodexHome, "/dev/") {
			deny = fmt.Sprintf("%q = \"none\"", paths.CodexHome)
		}
		profile = fmt.Sprintf(profile, deny)
	}
	for name, content := range map[string]string{"config.toml": profile, "secret": "secret\n"} {
		if err := os.WriteFile(filepath.Join(s.Home, name), []byte(content), 0o600); err != nil {
			return nil, fmt.Errorf("temporary directory: %w", err)
		}
	}
	if err := l.Own(dir); err != nil {
		return nil, fmt.Errorf("temporary directory: %w", err)
	}
	s.Args = []string{
		"sandbox", "-P", "probe", "-C", paths.Workspace, "--",
		"/bin/bash", "-c", script, "bash", paths.Workspace, paths.CodexHome, paths.Tmp, port,
	}
	stdout, stderr, st, err := output(ctx, l, s)
	if err != nil {
		return nil, err
	}
	said := map[string]bool{}
	for word := range strings.FieldsSeq(stdout) {
		said[word] = true
	}
	if !said["started"] || st.Code != 0 {
		return nil, fmt.Errorf("codex sandbox ended with code %d: %s", st.Code, strings.TrimSpace(stderr))
	}
	return said, nil
}

// output runs a tree to its end, or kills it at the end of ctx.
func output(ctx context.Context, l *jail.Launcher, s jail.Spec) (stdout, stderr string, st jail.ExitState, err error) {
	p, err := l.Start(ctx, s)
	if err != nil {
		return "", "", st, fmt.Errorf("start: %w", err)
	}
	stop := context.AfterFunc(ctx, p.Kill)
	defer stop()
	_ = p.Stdin.Close()
	rest := make(chan string, 1)
	go func() { rest <- drain(p.Stderr) }()
	stdout = drain(p.Stdout)
	stderr = <-rest
	<-p.Done()
	if ctx.Err() != nil {
		return "", "", st, fmt.Errorf("codex sandbox did not end in time: %w", context.Cause(ctx))
	}
	return stdout, stderr, p.State(), nil
}

// drain reads a pipe to its end, keeps the first of it and closes it.
func drain(f *os.File) string {
	defer func() { _ = f.Close() }()
	raw, _ := io.ReadAll(io.LimitReader(f, 4096)) // what came before an error is all there is
	_, _ = io.Copy(io.Discard, f)
	return string(raw)
}
