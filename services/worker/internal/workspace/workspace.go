package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"codexgateway.dev/pkg/errs"
)

// Repo is the repository a job asks for, as the client gave it.
type Repo struct {
	// URL is https://…, ssh://…, user@host:path or, where allowed, file://….
	URL string
	// Ref is a branch, a tag, a full ref name or a full commit id; empty: the
	// repository's default branch.
	Ref string
	// Subdir is the directory to work in, relative to the repository's top.
	Subdir string
}

// Policy is what the worker allows. The zero value allows public https
// repositories with the documented bounds.
type Policy struct {
	// Git is the git program; empty: "git" in the system's directories.
	Git string
	// AllowFile allows file:// URLs, which read the worker's own disk.
	AllowFile bool
	// AllowAddrs lifts the refusal of private addresses for these.
	AllowAddrs []netip.Prefix
	// CAFile holds the certificates to trust instead of the system's.
	CAFile string
	// SSHKey and SSHKnownHosts are files; without both, ssh URLs are refused.
	SSHKey, SSHKnownHosts string
	// MaxBytes bounds what is fetched and, separately, what is checked out.
	// 0 is 2 GiB.
	MaxBytes int64
	// MaxFiles bounds the files of the checkout and of an archive. 0 is 200 000.
	MaxFiles int
	// MaxDiffBytes bounds a patch. 0 is 16 MiB.
	MaxDiffBytes int64
	// MaxDiffFileBytes bounds one changed file in a patch. 0 is 8 MiB.
	MaxDiffFileBytes int64
	// Timeout bounds the fetch. 0 is 5 minutes.
	Timeout time.Duration
	// Lookup resolves a host; nil: the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

func (p Policy) withDefaults() Policy {
	if p.MaxBytes == 0 {
		p.MaxBytes = 2 << 30
	}
	if p.MaxFiles == 0 {
		p.MaxFiles = 200_000
	}
	if p.MaxDiffBytes == 0 {
		p.MaxDiffBytes = 16 << 20
	}
	if p.MaxDiffFileBytes == 0 {
		p.MaxDiffFileBytes = 8 << 20
	}
	if p.Timeout == 0 {
		p.Timeout = 5 * time.Minute
	}
	if p.Lookup == nil {
		p.Lookup = lookup
	}
	return p
}

// Request is one workspace to prepare.
type Request struct {
	// Dir is an existing, empty directory: it may already be mounted in a jail.
	Dir string
	// State is a directory no job can write, for this workspace alone. It is
	// created.
	State string
	// Repo is what to check out; nil: an empty repository.
	Repo *Repo
}

// Workspace is a prepared directory.
type Workspace struct {
	// Dir is the directory's top.
	Dir string
	// Subdir is the directory to work in, relative to Dir, "." for the top.
	Subdir string
	// Base is the commit that changes are measured against.
	Base string
	// Branch is what HEAD names; empty when it is detached at a tag or commit.
	Branch string

	state  string
	policy Policy
}

// Prepare fills r.Dir. On an error the directory may hold anything; the caller
// removes it and r.State. The error is an *errs.Error: repo_refused,
// repo_unreachable, repo_ref_not_found, repo_too_large or workspace_full, or
// the cause of ctx's end.
func Prepare(ctx context.Context, r Request, p Policy) (*Workspace, error) {
	w := &Workspace{Dir: r.Dir, Subdir: ".", state: r.State, policy: p.withDefaults()}
	if err := w.checkEmpty(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(w.state, 0o700); err != nil {
		return nil, w.failed("prepare", err)
	}
	var err error
	if r.Repo == nil {
		err = w.prepareEmpty()
	} else {
		err = w.clone(ctx, *r.Repo)
	}
	if err != nil {
		return nil, w.failed("prepare", err)
	}
	return w, nil
}

// checkEmpty refuses a directory with anything in it, which would be taken for
// the repository's or for the job's.
func (w *Workspace) checkEmpty() error {
	entries, err := os.ReadDir(w.Dir)
	if err != nil {
		return fmt.Errorf("workspace: prepare: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("workspace: prepare: %s is not empty", w.Dir)
	}
	return nil
}

// prepareEmpty makes a repository with one empty commit, so that a diff has
// something to be measured against. The files are written directly: running
// git for it takes three processes and tens of milliseconds.
func (w *Workspace) prepareEmpty() error {
	w.Base, w.Branch = emptyRepo().commit.id, "main"
	for _, dir := range []string{filepath.Join(w.Dir, ".git"), w.gitDir()} {
		if err := writeGitDir(dir); err != nil {
			return err
		}
		for _, o := range []object{emptyRepo().tree, emptyRepo().commit} {
			if err := o.write(dir); err != nil {
				return err
			}
		}
		if err := writeHead(dir, w.Branch, w.Base); err != nil {
			return err
		}
	}
	return w.writeOwnConfig()
}

// gitDir is the second .git, out of the job's reach.
func (w *Workspace) gitDir() string { return filepath.Join(w.state, "git") }

// failed gives an error of the file system its code and every other one the
// operation's name.
func (w *Workspace) failed(op string, err error) error {
	if _, ok := errors.AsType[*errs.Error](err); ok {
		return err
	}
	if isFull(err) {
		return errs.Wrap(errs.WorkspaceFull, "", err)
	}
	return fmt.Errorf("workspace: %s: %w", op, err)
}

// isFull reports whether err is a full disk or quota.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Clear empties dir and keeps it, because a jail may have it mounted; for a
// directory that is to be prepared anew.
func Clear(dir string) error {
	if err := empty(dir, ""); err != nil {
		return fmt.Errorf("workspace: clear: %w", err)
	}
	return nil
}

// empty removes everything in dir but the entry keep.
func empty(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == keep {
			continue
		}
		if err := Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Remove deletes dir and everything in it, also below directories that the job
// made unwritable.
func Remove(dir string) error {
	if err := os.RemoveAll(dir); err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(name, 0o700) //nolint:gosec // G302: a directory needs its x bit; before it is read
		}
		return nil
	})
	return os.RemoveAll(dir)
}
