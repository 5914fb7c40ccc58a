package jail

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Detect starts a tree for real and says whether the mode works here; an
// *[UnavailableError] says why not and what to do.
func (l *Launcher) Detect(ctx context.Context) error {
	if l.cfg.Mode != Namespace {
		return nil
	}
	dir, err := os.MkdirTemp("", "codexgw-detect-")
	if err != nil {
		return fmt.Errorf("jail: detect: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s := Spec{Home: filepath.Join(dir, "home"), Workspace: filepath.Join(dir, "work")}
	for _, d := range []string{s.Home, s.Workspace} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return fmt.Errorf("jail: detect: %w", err)
		}
	}
	if err := l.Own(dir); err != nil {
		return err
	}
	// Bubblewrap is the one program that is surely there to run.
	s.Binary = l.cfg.Bubblewrap
	if rel, ok := strings.CutPrefix(s.Binary, filepath.Clean(l.cfg.Codex)+"/"); ok {
		s.Binary = filepath.Join(CodexDir, rel)
	}
	s.Args = []string{"--version"}
	p, err := l.Start(ctx, s)
	if err != nil {
		return err
	}
	defer func() { _, _ = p.Stdout.Close(), p.Stderr.Close() }()
	_ = p.Stdin.Close()
	stop := context.AfterFunc(ctx, p.Kill)
	defer stop()
	out, _ := io.ReadAll(io.LimitReader(p.Stderr, 2048)) // bounded, ends with the tree
	<-p.Done()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("jail: detect: %w", context.Cause(ctx))
	}
	if st := p.State(); !st.Started || st.Code != 0 {
		return explain(string(bytes.TrimSpace(out)))
	}
	return nil
}

// explain looks for the usual reasons why namespaces are refused.
func explain(output string) error {
	u := &UnavailableError{
		Reason: "bubblewrap could not build the jail",
		Fix:    "Run the worker where unprivileged user namespaces are allowed.",
		Output: output,
	}
	for _, c := range []struct{ file, bad, fix string }{
		{"/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		if raw, err := os.ReadFile(c.file); err == nil && strings.TrimSpace(string(raw)) == c.bad {
			u.Reason = "the kernel forbids unprivileged user namespaces (" + c.file + " is " + c.bad + ")"
			u.Fix = c.fix
			return u
		}
	}
	switch raw, err := os.ReadFile("/proc/self/status"); {
	case err == nil && strings.Contains(string(raw), "\nSeccomp:\t2\n"):
		u.Reason = "the worker runs under a seccomp filter, most likely a container's default profile, that refuses namespaces"
		u.Fix = "Allow clone, unshare, mount and pivot_root in the container's seccomp profile. " + containerFlags
	case procMasked():
		u.Reason = "parts of /proc are masked in the worker's container, so that the kernel refuses a new /proc in the jail"
		u.Fix = containerFlags
	}
	return u
}

// containerFlags let a container build jails. It needs no capability and no
// --privileged.
const containerFlags = "Docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined. " +
	"Podman: --security-opt seccomp=unconfined --security-opt unmask=ALL. " +
	"Kubernetes: seccompProfile Unconfined and procMount Unmasked."

// procMasked reports whether something is mounted over parts of /proc, as
// container runtimes do.
func procMasked() bool {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(raw)) {
		const mountPoint = 4 // proc(5)
		if f := strings.Fields(line); len(f) > mountPoint && strings.HasPrefix(f[mountPoint], "/proc/") && f[mountPoint] != "/proc/sys/fs/binfmt_misc" {
			return true
		}
	}
	return false
}
