package jail

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Paths inside the jail, the same on every worker: Codex writes its CODEX_HOME
// into prompts, and a constant one keeps the model's prompt cache warm when a
// conversation moves.
//
// HomeDir lies below /dev on purpose. Codex's own sandbox gives every command a
// fresh /dev, so commands cannot see CODEX_HOME at all; the probe tries it. To
// deny the path in the permission profile instead makes Codex start three of
// its 294 MB binaries to look for a file, twice a job: 340 ms, measured.
const (
	CodexDir     = "/codex-cli"
	HomeDir      = "/dev/codex-home"
	WorkspaceDir = "/workspace"
	TmpDir       = "/tmp"
)

// nobody is the user a root worker's trees run as unless told otherwise. It is
// in every distribution's passwd file, which some tools insist on.
const nobody = 65534

// Mode is how a process tree is held together.
type Mode int

// The modes.
const (
	// Namespace is the full promise of this package. Linux only.
	Namespace Mode = iota
	// ProcessGroup kills a process group and hides nothing.
	ProcessGroup
)

// String names the mode as configuration and logs do.
func (m Mode) String() string {
	switch m {
	case Namespace:
		return "namespace"
	case ProcessGroup:
		return "process_group"
	}
	return fmt.Sprintf("mode(%d)", int(m))
}

// Config is what all jails of a worker have in common.
type Config struct {
	Mode Mode
	// Codex is the host directory of the Codex package: bin/codex,
	// codex-path/rg, codex-resources/bwrap. Seen at CodexDir, read-only.
	Codex string
	// Bubblewrap is the program to use; empty: the package's own, else the
	// system's.
	Bubblewrap string
	// Expose are further host directories to show read-only at their own
	// path, such as a toolchain outside /usr and /opt.
	Expose []string
	// Hide are host paths to cover when they lie inside a shown directory: the
	// data directory, files with secrets. Those outside are not shown anyway.
	Hide []string
	// Mark is a name of the worker's own that its jails show as the name of their
	// bubblewrap, by which Open finds those a killed worker left; see
	// endLeftovers. Two workers must not share one. Empty: nothing is looked for.
	Mark string
	// UID and GID are the user the tree runs as when the worker is root; 0 is
	// nobody. A worker that is not root runs it as itself.
	UID, GID int
	// TmpBytes bounds the memory-backed /tmp of a job without Spec.Tmp.
	// 0 is 1 GiB.
	TmpBytes int64
	// ShmBytes bounds a job's /dev/shm. 0 is 256 MiB.
	ShmBytes int64
}

// Spec is one process tree.
type Spec struct {
	// Binary is the program: a path inside the jail, or empty for Codex.
	Binary string
	Args   []string
	// Env is added to the base environment and wins over it. There is nothing
	// besides:
	// PATH, HOME, CODEX_HOME, TMPDIR, LANG, USER, SHELL, PWD.
	Env []string
	// Home and Workspace are host directories, seen at HomeDir and
	// WorkspaceDir, writable. They must exist; see Launcher.Own.
	Home, Workspace string
	// Tmp is the host directory seen as /tmp; empty: a fresh tmpfs.
	Tmp    string
	Limits Limits
}

// Limits bound what one tree takes of the machine in Namespace mode; 0 leaves
// the worker's own limit, and so does ProcessGroup mode.
type Limits struct {
	// Processes bounds the processes and threads of this tree alone
	// (RLIMIT_NPROC), although all trees run as one user: the kernel counts them
	// per user namespace, and each tree has one of its own.
	Processes uint64
	// OpenFiles bounds the descriptors of each process (RLIMIT_NOFILE).
	OpenFiles uint64
	// FileBytes bounds each file (RLIMIT_FSIZE); a write beyond it fails.
	FileBytes uint64
}

// Paths are the directories as the tree sees them.
type Paths struct {
	Codex, CodexHome, Workspace, Tmp string
	// Home is $HOME: empty at start and below Tmp, so that commands may write
	// caches there and find no one's dot files. In ProcessGroup mode without
	// Spec.Tmp it is CodexHome.
	Home string
}

// ExitState is how a tree ended.
type ExitState struct {
	// Code is the exit code of the program, 128+n when signal n ended it.
	Code int
	// Started is false when the jail could not be built and the program never
	// ran; what went wrong is then on stderr.
	Started bool
}

// UnavailableError says why a mode cannot be had on this machine and what to do.
type UnavailableError struct {
	Reason string
	Fix    string
	// Output is what bubblewrap printed, bounded.
	Output string
}

// Error implements error.
func (u *UnavailableError) Error() string {
	return "jail: namespaces are not available: " + u.Reason
}

// ErrClosed is the error of Start after Close.
var ErrClosed = errors.New("jail: launcher is closed")

// errNotGone is the error of Stop when the kernel did not end a killed tree.
var errNotGone = errors.New("jail: processes still exist after SIGKILL")

// killWait is how long a killed tree may take to be gone before Stop gives up
// waiting; only a process stuck in the kernel takes longer than milliseconds.
const killWait = 10 * time.Second

// paths says where a tree of the mode sees its directories.
func (c *Config) paths(s *Spec) Paths {
	if c.Mode == Namespace {
		return Paths{
			Codex: CodexDir, CodexHome: HomeDir, Workspace: WorkspaceDir,
			Tmp: TmpDir, Home: path.Join(TmpDir, "home"),
		}
	}
	tmp, home := s.Tmp, filepath.Join(s.Tmp, "home")
	if tmp == "" {
		tmp, home = os.TempDir(), s.Home
	}
	return Paths{
		Codex: c.Codex, CodexHome: s.Home, Workspace: s.Workspace,
		Tmp: tmp, Home: home,
	}
}

// environment is exactly what the program starts with.
func environment(p Paths, extra []string) []string {
	base := []string{
		"PATH=" + filepath.Join(p.Codex, "codex-path") +
			":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + p.Home,
		"CODEX_HOME=" + p.CodexHome,
		"TMPDIR=" + p.Tmp,
		"LANG=C.UTF-8",
		"USER=codex",
		"SHELL=/bin/bash",
		"PWD=" + p.Workspace,
	}
	base = slices.DeleteFunc(base, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.ContainsFunc(extra, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	})
	return append(base, extra...)
}

// check refuses a spec that would fail later and less clearly.
func (s *Spec) check() error {
	for _, d := range []struct{ name, dir string }{{"Home", s.Home}, {"Workspace", s.Workspace}, {"Tmp", s.Tmp}} {
		if d.dir == "" && d.name == "Tmp" {
			continue
		}
		if !filepath.IsAbs(d.dir) {
			return fmt.Errorf("jail: Spec.%s %q is not an absolute path", d.name, d.dir)
		}
		if st, err := os.Stat(d.dir); err != nil {
			return fmt.Errorf("jail: Spec.%s: %w", d.name, err)
		} else if !st.IsDir() {
			return fmt.Errorf("jail: Spec.%s %q is not a directory", d.name, d.dir)
		}
	}
	return nil
}
