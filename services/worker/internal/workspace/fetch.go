package workspace

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"codexgateway.dev/pkg/errs"
)

// fetchCommit fetches one commit, or everything where the server gives out no
// single commits.
func (w *Workspace) fetchCommit(ctx context.Context, src source, env []string, id string) error {
	err := w.fetch(ctx, src, env, "--depth=1", "+"+id+":"+baseRef)
	if _, ok := errors.AsType[*gitError](err); !ok {
		return err
	}
	// Either the server cannot be reached, which shows again, or it refuses.
	if err := w.fetch(ctx, src, env, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"); err != nil {
		return err
	}
	_, err = w.git(ctx, command{args: []string{"update-ref", "--end-of-options", baseRef, id}})
	if _, ok := errors.AsType[*gitError](err); ok {
		return errs.Wrap(errs.RepoRefNotFound, "The repository has no such commit on any branch or tag.", err)
	}
	return err
}

// fetch runs git fetch and ends it when too much arrives. Options come first
// in refspecs.
func (w *Workspace) fetch(ctx context.Context, src source, env []string, refspecs ...string) error {
	args := []string{"fetch", "--quiet", "--no-tags", "--no-auto-maintenance", "--no-recurse-submodules", "--no-write-fetch-head"}
	for len(refspecs) > 0 && strings.HasPrefix(refspecs[0], "-") {
		args, refspecs = append(args, refspecs[0]), refspecs[1:]
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		w.watch(ctx, cancel)
	}()
	_, err := w.git(ctx, command{env: env, args: append(append(args, "--", src.url), refspecs...)})
	cancel(nil)
	<-watched
	if err != nil {
		return err
	}
	if treeSize(filepath.Join(w.gitDir(), "objects")) > w.policy.MaxBytes {
		return errTooLarge // arrived between two looks
	}
	return nil
}

// watch ends a fetch whose objects outgrow the limit.
func (w *Workspace) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if treeSize(filepath.Join(w.gitDir(), "objects")) > w.policy.MaxBytes {
				cancel(errTooLarge)
				return
			}
		}
	}
}

// treeSize adds up the files below dir; those that vanish meanwhile count 0.
func treeSize(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // git removes temporary files while we look
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

// environment is what git needs to reach the source, and only it, at the
// addresses that were checked.
func (s source) environment(p *Policy, addrs []netip.Addr) []string {
	env := []string{"GIT_ALLOW_PROTOCOL=" + s.scheme}
	switch s.scheme {
	case "https":
		list := make([]string, len(addrs))
		for i, a := range addrs {
			list[i] = a.String()
			if a.Is6() {
				list[i] = "[" + list[i] + "]"
			}
		}
		if _, err := netip.ParseAddr(s.host); err != nil {
			env = append(env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.curloptResolve",
				"GIT_CONFIG_VALUE_0="+s.host+":"+s.port+":"+strings.Join(list, ","))
		}
	case "ssh":
		env = append(env, "GIT_SSH_VARIANT=ssh", "GIT_SSH_COMMAND="+strings.Join([]string{
			"ssh", "-F", "/dev/null", "-i", shellQuote(p.SSHKey),
			"-oUserKnownHostsFile=" + shellQuote(p.SSHKnownHosts), "-oGlobalKnownHostsFile=/dev/null",
			"-oBatchMode=yes", "-oIdentitiesOnly=yes", "-oStrictHostKeyChecking=yes", "-oUpdateHostKeys=no",
			"-oConnectTimeout=20", "-oServerAliveInterval=15", "-oServerAliveCountMax=2",
			"-oHostKeyAlias=" + s.host, "-oHostname=" + addrs[0].String(),
		}, " "))
	}
	return env
}

// shellQuote quotes an operator's path for the shell git starts ssh with.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
