package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// systemPath is where programs are looked for; the worker's own PATH is not
// trusted to hold only what git needs.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin"

// gitEnd is how long a git process may take to end after it was killed.
const gitEnd = 5 * time.Second

// command is one git process.
type command struct {
	args []string
	// env is added to the environment, which is explicit.
	env    []string
	stdin  io.Reader
	stdout io.Writer
}

// gitError is a git process that ended with an error. Its output names URLs
// and files, so it is for logs and never for clients.
type gitError struct {
	verb   string
	code   int
	stderr string
}

func (e *gitError) Error() string {
	return fmt.Sprintf("git %s: exit %d: %s", e.verb, e.code, e.stderr)
}

// git runs a git process on the workspace's second repository and returns its
// output unless c takes it.
func (w *Workspace) git(ctx context.Context, c command) ([]byte, error) {
	program, err := w.policy.program()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, c.args...)
	cmd.Dir = w.Dir
	cmd.Env = append([]string{
		"PATH=" + systemPath,
		"HOME=" + w.state,
		"LANG=C.UTF-8",
		"GIT_DIR=" + w.gitDir(),
		"GIT_WORK_TREE=" + w.Dir,
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + filepath.Join(w.state, "gitconfig"),
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=/bin/false",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_ALLOW_PROTOCOL=", // none, unless the command names one
	}, c.env...)
	cmd.Stdin = c.stdin
	var out bytes.Buffer
	stderr := &head{max: 4096}
	cmd.Stdout, cmd.Stderr = &out, stderr
	if c.stdout != nil {
		cmd.Stdout = c.stdout
	}
	ownGroup(cmd)
	cmd.WaitDelay = gitEnd
	err = cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, &gitError{verb: c.args[0], code: exit.ExitCode(), stderr: strings.TrimSpace(stderr.String())}
	}
	if err != nil {
		return nil, fmt.Errorf("git %s: %w", c.args[0], err)
	}
	return out.Bytes(), nil
}

// program is the git program's path.
func (p *Policy) program() (string, error) {
	if p.Git != "" {
		return p.Git, nil
	}
	for dir := range strings.SplitSeq(systemPath, ":") {
		name := filepath.Join(dir, "git")
		if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return name, nil
		}
	}
	return "", fmt.Errorf("git: %w", exec.ErrNotFound)
}

// minGit is the first release that pins the address of a host
// (http.curloptResolve).
var minGit = [2]int{2, 37}

// GitVersion returns the version of the git program, and an error when there
// is none or it is too old.
func GitVersion(ctx context.Context, p Policy) (string, error) {
	program, err := p.program()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env = []string{"PATH=" + systemPath, "LANG=C.UTF-8"}
	cmd.WaitDelay = gitEnd
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git --version: %w", err)
	}
	var major, minor int
	version := strings.TrimPrefix(strings.TrimSpace(string(out)), "git version ")
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return "", fmt.Errorf("git --version: %q: %w", version, err)
	}
	if major < minGit[0] || major == minGit[0] && minor < minGit[1] {
		return version, fmt.Errorf("git %s is older than %d.%d", version, minGit[0], minGit[1])
	}
	return version, nil
}

// head keeps the first max bytes written to it.
type head struct {
	bytes.Buffer
	max int
}

func (h *head) Write(p []byte) (int, error) {
	if room := h.max - h.Len(); room > 0 {
		h.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
