package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"codexgateway.dev/pkg/errs"
)

// Why the worker itself ended a git process.
var (
	errTooLarge = errors.New("workspace: repository is over the size limit")
	errTooSlow  = errors.New("workspace: repository did not arrive in time")
)

// baseRef is where the wanted commit is kept in the second repository.
const baseRef = "refs/gateway/base"

// nearlyFull is the free space below which a failed git is taken for one that
// ran out of it.
const nearlyFull = 32 << 20

// wanted is what a ref turned out to be.
type wanted struct {
	// remote is the full ref name or commit id to fetch.
	remote string
	branch string
}

// clone fetches and checks out a repository.
func (w *Workspace) clone(ctx context.Context, r Repo) error {
	src, err := parseSource(r.URL, &w.policy)
	if err != nil {
		return err
	}
	if err := checkRef(r.Ref); err != nil {
		return err
	}
	if w.Subdir, err = checkSubdir(r.Subdir); err != nil {
		return err
	}
	if err := writeGitDir(w.gitDir()); err != nil {
		return err
	}
	if err := w.writeOwnConfig(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, w.policy.Timeout, errTooSlow)
	defer cancel()
	if err := w.download(limited, src, r.Ref); err != nil {
		return w.outcome(err)
	}
	if err := w.checkout(limited); err != nil {
		err = w.outcome(err)
		if errs.CodeOf(err) == errs.RepoUnreachable && !errors.Is(err, errTooSlow) {
			return errs.Wrap(errs.RepoRefused, "The repository holds files that cannot be checked out.", err)
		}
		return err
	}
	if err := w.shareWithJob(limited, src.url); err != nil {
		return w.outcome(err)
	}
	return w.checkSubdirExists()
}

// outcome gives the end of a git process its code.
func (w *Workspace) outcome(err error) error {
	if _, ok := errors.AsType[*errs.Error](err); ok {
		return err
	}
	_, byGit := errors.AsType[*gitError](err)
	switch {
	case errors.Is(err, errTooLarge):
		return errs.Wrap(errs.RepoTooLarge, fmt.Sprintf("The repository is larger than this worker allows (%d MiB, %d files).",
			w.policy.MaxBytes>>20, w.policy.MaxFiles), err)
	case errors.Is(err, errTooSlow):
		return errs.Wrap(errs.RepoUnreachable, fmt.Sprintf("The repository did not arrive within %v.", w.policy.Timeout), err)
	case !byGit:
		return err
	}
	if free, ferr := FreeBytes(w.state); ferr == nil && free < nearlyFull {
		return errs.Wrap(errs.WorkspaceFull, "", err)
	}
	return errs.Wrap(errs.RepoUnreachable, "The repository could not be fetched. Check that the URL is right, final (redirects are not followed) and readable without credentials.", err)
}

// download brings the wanted commit into the second repository.
func (w *Workspace) download(ctx context.Context, src source, ref string) error {
	addrs, err := src.resolve(ctx, &w.policy)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	env := src.environment(&w.policy, addrs)
	want := wanted{remote: ref}
	if commitID.MatchString(ref) {
		if len(ref) != 40 {
			return errs.New(errs.RepoRefused, "Repositories with SHA-256 object names are not supported.")
		}
		err = w.fetchCommit(ctx, src, env, ref)
	} else {
		if want, err = w.find(ctx, src, env, ref); err != nil {
			return err
		}
		err = w.fetch(ctx, src, env, "--depth=1", "+"+want.remote+":"+baseRef)
	}
	if err != nil {
		return err
	}
	out, err := w.git(ctx, command{args: []string{"rev-parse", "--verify", "--quiet", "--end-of-options", baseRef + "^{commit}"}})
	if _, ok := errors.AsType[*gitError](err); ok {
		return errs.Wrap(errs.RepoRefNotFound, "repo.ref does not name a commit.", err)
	}
	if err != nil {
		return err
	}
	w.Base, w.Branch = strings.TrimSpace(string(out)), want.branch
	return nil
}

// find asks the server what ref is. A branch wins over a tag of its name.
func (w *Workspace) find(ctx context.Context, src source, env []string, ref string) (wanted, error) {
	patterns := []string{"HEAD"}
	switch {
	case strings.HasPrefix(ref, "refs/"):
		patterns = []string{ref}
	case ref != "":
		patterns = []string{"refs/heads/" + ref, "refs/tags/" + ref}
	}
	out, err := w.git(ctx, command{env: env, args: append([]string{"ls-remote", "--symref", "--", src.url}, patterns...)})
	if err != nil {
		return wanted{}, err
	}
	found := map[string]bool{}
	var head string
	for line := range strings.Lines(string(out)) {
		value, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if target, ok := strings.CutPrefix(value, "ref: "); ok {
			head = target
			continue
		}
		found[name] = true
	}
	for _, name := range patterns {
		if !found[name] {
			continue
		}
		if name == "HEAD" && head != "" {
			name = head
		}
		branch, isBranch := strings.CutPrefix(name, "refs/heads/")
		if !isBranch {
			branch = ""
		}
		// The name comes from the server, and becomes a file's and an argument.
		if checkRef(name) != nil || checkRef(branch) != nil {
			return wanted{}, refused("The repository's default branch has a name that is not allowed.")
		}
		return wanted{remote: name, branch: branch}, nil
	}
	if ref == "" {
		return wanted{}, errs.New(errs.RepoRefNotFound, "The repository is empty.")
	}
	return wanted{}, errs.New(errs.RepoRefNotFound, "The repository has no branch or tag of that name; a commit id must be given in full.")
}

// checkout writes the commit's files, after their sizes were added up: a small
// pack can hold a very large tree.
func (w *Workspace) checkout(ctx context.Context) error {
	counting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sizes := &treeCounter{policy: &w.policy, over: func() { cancel(errTooLarge) }}
	if _, err := w.git(counting, command{args: []string{"ls-tree", "-r", "-l", "-z", w.Base}, stdout: sizes}); err != nil {
		return err
	}
	if err := writeHead(w.gitDir(), "", w.Base); err != nil {
		return err
	}
	_, err := w.git(ctx, command{args: []string{"reset", "--hard", "--quiet"}})
	return err
}

// treeCounter reads the output of ls-tree and calls over when it is too much.
type treeCounter struct {
	policy *Policy
	over   func()
	rest   []byte
	bytes  int64
	files  int
}

func (t *treeCounter) Write(p []byte) (int, error) {
	t.rest = append(t.rest, p...)
	for {
		entry, rest, ok := bytes.Cut(t.rest, []byte{0})
		if !ok {
			return len(p), nil
		}
		t.rest = rest
		t.files++
		meta, _, _ := bytes.Cut(entry, []byte{'\t'})
		size := meta[bytes.LastIndexByte(meta, ' ')+1:]
		if n, err := strconv.ParseInt(string(size), 10, 64); err == nil { // "-" for a submodule
			t.bytes += n
		}
		if t.bytes > t.policy.MaxBytes || t.files > t.policy.MaxFiles {
			t.over()
			return 0, errTooLarge
		}
	}
}

// shareWithJob gives the workspace a .git of its own, a copy: the job may do
// with it what it likes.
func (w *Workspace) shareWithJob(ctx context.Context, url string) error {
	dir := filepath.Join(w.Dir, ".git")
	if err := writeGitDir(dir); err != nil {
		return err
	}
	for _, sub := range []string{"objects", "refs/tags", "refs/remotes", "index", "shallow", "packed-refs"} {
		if err := copyTree(ctx, filepath.Join(w.gitDir(), sub), filepath.Join(dir, sub)); err != nil {
			return err
		}
	}
	if err := writeHead(dir, w.Branch, w.Base); err != nil {
		return err
	}
	return writeFiles(dir, map[string]string{
		"config": repoConfig + "[remote \"origin\"]\n\turl = " + quote(url) + "\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
	})
}

// copyTree copies a file or a directory of the second repository; what does
// not exist is not copied.
func copyTree(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == from {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755) //nolint:gosec // G301: as git makes them
		}
		return copyFile(ctx, name, filepath.Join(to, rel))
	})
}

func copyFile(ctx context.Context, from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // G302, G304: as git makes them
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	_, err = io.Copy(dst, stopped{ctx, src})
	return err
}

// checkSubdirExists follows the subdirectory as the job will, but never out of
// the workspace.
func (w *Workspace) checkSubdirExists() error {
	root, err := os.OpenRoot(w.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if st, err := root.Stat(w.Subdir); err != nil || !st.IsDir() {
		return errs.Wrap(errs.RepoRefNotFound, "The repository has no directory of the name in repo.subdir.", err)
	}
	return nil
}
