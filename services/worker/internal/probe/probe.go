package probe

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"codexgateway.dev/services/worker/codexversion"
	"codexgateway.dev/services/worker/internal/jail"
	"codexgateway.dev/services/worker/internal/workspace"
)

// The checks, in the order they are made.
const (
	CodexBinary  = "codex_binary"
	CodexVersion = "codex_version"
	Jail         = "jail"
	Sandbox      = "codex_sandbox"
	Denials      = "sandbox_denials"
	Git          = "git"
	Disk         = "disk_space"
)

// Result is the outcome of one check.
type Result struct {
	Name string
	OK   bool
	// Detail says what was found, Fix what to do about it when it is not OK.
	Detail, Fix string
}

// Config is what to check. The zero value checks this machine's defaults.
type Config struct {
	// Codex is what codexversion.Locate takes; empty: the default places.
	Codex string
	// Jail is the worker's jail; its Codex is filled in.
	Jail jail.Config
	// Git is workspace.Policy.Git.
	Git string
	// DataDir is where jobs' directories are; empty: no check of its space.
	DataDir string
	// MinFreeBytes is the least space for a job. 0 is 1 GiB.
	MinFreeBytes int64
	// Timeout bounds each check. 0 is 20 seconds.
	Timeout time.Duration
}

// OK reports whether every check passed.
func OK(results []Result) bool {
	for _, r := range results {
		if !r.OK {
			return false
		}
	}
	return true
}

// Run makes every check and returns a result for each, always the same ones in
// the same order.
func Run(ctx context.Context, c Config) []Result {
	if c.MinFreeBytes == 0 {
		c.MinFreeBytes = 1 << 30
	}
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	results := c.codex(ctx)
	results = append(results, c.bounded(ctx, c.git), c.disk())
	return results
}

// codex makes the checks that need the Codex CLI.
func (c *Config) codex(ctx context.Context) []Result {
	pkg, err := codexversion.Locate(c.Codex)
	if err != nil {
		return append([]Result{{
			Name: CodexBinary, Detail: err.Error(),
			Fix: "Run make setup, or npm install -g @openai/codex@" + codexversion.Pinned() + ", or name the program with --codex.",
		}}, unchecked("there is no Codex CLI", CodexVersion, Jail, Sandbox, Denials)...)
	}
	results := []Result{
		{Name: CodexBinary, OK: true, Detail: pkg.Binary},
		c.bounded(ctx, func(ctx context.Context) Result { return version(ctx, pkg.Binary) }),
	}
	c.Jail.Codex = pkg.Dir
	launcher, err := jail.Open(c.Jail)
	if err != nil {
		return append(append(results, unavailable(err)), unchecked("there is no jail", Sandbox, Denials)...)
	}
	defer launcher.Close()
	result := c.bounded(ctx, func(ctx context.Context) Result {
		if err := launcher.Detect(ctx); err != nil {
			return unavailable(err)
		}
		return Result{Name: Jail, OK: true, Detail: launcher.Mode().String()}
	})
	results = append(results, result)
	if !result.OK {
		return append(results, unchecked("there is no jail", Sandbox, Denials)...)
	}
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return append(results, sandbox(limited, launcher, profile)...)
}

// bounded makes one check within the timeout.
func (c *Config) bounded(ctx context.Context, check func(context.Context) Result) Result {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return check(ctx)
}

// unchecked are the results of checks that had nothing to check.
func unchecked(why string, names ...string) []Result {
	results := make([]Result, len(names))
	for i, name := range names {
		results[i] = Result{Name: name, Detail: "not checked: " + why, Fix: "Fix the check above first."}
	}
	return results
}

func unavailable(err error) Result {
	r := Result{Name: Jail, Detail: err.Error(), Fix: "Run the worker where user namespaces are allowed."}
	if u, ok := errors.AsType[*jail.UnavailableError](err); ok {
		r.Fix = u.Fix
		if u.Output != "" {
			r.Detail += ": " + u.Output
		}
	}
	return r
}

// version compares what the program says with the pinned release.
func version(ctx context.Context, binary string) Result {
	r := Result{Name: CodexVersion, Fix: "Install the pinned release: npm install @openai/codex@" + codexversion.Pinned() + "."}
	cmd := exec.CommandContext(ctx, binary, "--version")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		r.Detail = fmt.Sprintf("%s --version: %v", binary, err)
		return r
	}
	r.Detail = strings.TrimSpace(string(out))
	_, found, _ := strings.Cut(r.Detail, " ")
	if r.OK = found == codexversion.Pinned(); r.OK {
		r.Fix = ""
	} else {
		r.Detail = fmt.Sprintf("found %q, the gateway is built for %s", r.Detail, codexversion.Pinned())
	}
	return r
}

func (c *Config) git(ctx context.Context) Result {
	v, err := workspace.GitVersion(ctx, workspace.Policy{Git: c.Git})
	if err != nil {
		return Result{Name: Git, Detail: err.Error(), Fix: "Install git 2.37 or newer."}
	}
	return Result{Name: Git, OK: true, Detail: v}
}

func (c *Config) disk() Result {
	if c.DataDir == "" {
		return Result{Name: Disk, OK: true, Detail: "no data directory to check"}
	}
	free, err := workspace.FreeBytes(c.DataDir)
	if err != nil {
		return Result{Name: Disk, Detail: err.Error(), Fix: "Create the data directory, or name another with --data."}
	}
	r := Result{Name: Disk, OK: free >= c.MinFreeBytes, Detail: fmt.Sprintf("%d MiB free in %s", free>>20, c.DataDir)}
	if !r.OK {
		r.Fix = fmt.Sprintf("Free at least %d MiB, or name another data directory.", c.MinFreeBytes>>20)
	}
	return r
}
