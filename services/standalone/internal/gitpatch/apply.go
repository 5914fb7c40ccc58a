package gitpatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"codexgateway.dev/services/standalone/internal/termsafe"
)

// Errors of [Apply].
var (
	// ErrNoGit means that there is no git program.
	ErrNoGit = errors.New("git is not installed or not on PATH")
	// ErrNoWorkTree means that the directory is in no git work tree.
	ErrNoWorkTree = errors.New("not in a git work tree")
)

// ConflictError means that the patch does not fit the work tree.
type ConflictError struct {
	// Reasons are git's, one a line, clean.
	Reasons []string
	// Merged is true when a three-way merge left conflict markers; otherwise
	// nothing was changed.
	Merged bool
}

// Error implements error.
func (e *ConflictError) Error() string {
	if e.Merged {
		return "the patch conflicts; conflict markers are in the files"
	}
	return "the patch does not apply; nothing was changed"
}

// File is one file of a patch.
type File struct {
	// Path is relative to the top of the work tree, clean.
	Path string
	// Added and Removed are lines, -1 in a binary file.
	Added, Removed int
}

// Options of [Apply].
type Options struct {
	// Dir is a directory in the work tree; empty: the working directory.
	Dir string
	// ThreeWay merges where the patch does not fit exactly; it may leave
	// conflict markers, and needs the files to match the index.
	ThreeWay bool
	// LookupEnv is where PATH and HOME for git come from.
	LookupEnv func(string) (string, bool)
}

// gitTimeout bounds one run of git.
const gitTimeout = 2 * time.Minute

// Apply applies a patch to the work tree around opt.Dir, not to the index
// (with ThreeWay: to both), and returns what it changed.
func Apply(ctx context.Context, patch []byte, opt Options) ([]File, error) {
	g := git{opt: opt}
	top, stderr, err := g.run(ctx, nil, "rev-parse", "--show-toplevel")
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, ErrNoGit
	case err != nil:
		return nil, fmt.Errorf("%w: %s", ErrNoWorkTree, reasons(stderr, err))
	}
	// From below the top git would leave out, silently, what lies elsewhere.
	g.opt.Dir = strings.TrimSuffix(string(top), "\n")
	stat, stderr, err := g.run(ctx, patch, "apply", "--numstat", "-z", "-")
	if err != nil {
		return nil, fmt.Errorf("the patch cannot be read: %s", reasons(stderr, err))
	}
	files := numstat(stat)
	if !opt.ThreeWay {
		if _, stderr, err := g.run(ctx, patch, "apply", "--check", "--whitespace=nowarn", "-"); err != nil {
			return files, conflict(ctx, stderr, err, false)
		}
		if _, stderr, err := g.run(ctx, patch, "apply", "--whitespace=nowarn", "-"); err != nil {
			return files, conflict(ctx, stderr, err, false)
		}
		return files, nil
	}
	if _, stderr, err := g.run(ctx, patch, "apply", "--3way", "--whitespace=nowarn", "-"); err != nil {
		return files, conflict(ctx, stderr, err, bytes.Contains(stderr, []byte("with conflicts")))
	}
	return files, nil
}

// conflict is the refusal of a patch, or why git did not run to its end.
func conflict(ctx context.Context, stderr []byte, err error, merged bool) error {
	var exit *exec.ExitError
	if ctx.Err() != nil || !errors.As(err, &exit) {
		return fmt.Errorf("git apply: %w", err)
	}
	return &ConflictError{Reasons: lines(stderr), Merged: merged}
}

func lines(stderr []byte) []string {
	var out []string
	for line := range strings.SplitSeq(termsafe.Text(string(stderr)), "\n") {
		if line = strings.TrimPrefix(strings.TrimSpace(line), "error: "); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// reasons is git's complaint on one line.
func reasons(stderr []byte, err error) string {
	if all := lines(stderr); len(all) > 0 {
		return strings.Join(all, "; ")
	}
	return err.Error()
}

// git runs git in a directory.
type git struct{ opt Options }

func (g *git) run(ctx context.Context, stdin []byte, args ...string) (stdout, stderr []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = g.opt.Dir
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = []string{"LC_ALL=C", "GIT_TERMINAL_PROMPT=0"}
	for _, name := range []string{"PATH", "HOME", "XDG_CONFIG_HOME"} {
		if v, ok := g.opt.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err = cmd.Run()
	return out.Bytes(), complaint.Bytes(), err
}

// numstat reads git's NUL-separated statistics.
func numstat(raw []byte) []File {
	var out []File
	for entry := range strings.SplitSeq(string(raw), "\x00") {
		parts := strings.SplitN(entry, "\t", 3)
		if len(parts) != 3 {
			continue
		}
		out = append(out, File{Path: termsafe.Line(parts[2]), Added: count(parts[0]), Removed: count(parts[1])})
	}
	return out
}

// count is a number of lines; git writes - for a binary file.
func count(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}
