package jail

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The descriptors of bubblewrap's own pipes, after stdin, stdout and stderr.
// It closes both before it executes the program.
const (
	statusFD = "3"
	blockFD  = "4"
)

// systemRoots are what every tree sees of the host, read-only, when it exists:
// programs, libraries, their configuration and the kernel's description of the
// machine. /etc/resolv.conf is a link into /run on many systems.
var systemRoots = []string{
	"/bin", "/etc", "/gnu/store", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store",
	"/opt", "/run/systemd/resolve", "/sbin", "/sys", "/usr",
}

// systemBubblewrap is where distributions install it.
var systemBubblewrap = []string{"/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"}

// prepare finds bubblewrap.
func (l *Launcher) prepare() error {
	if l.cfg.Mode != Namespace || l.cfg.Bubblewrap != "" {
		return nil
	}
	for _, p := range append([]string{filepath.Join(l.cfg.Codex, "codex-resources", "bwrap")}, systemBubblewrap...) {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			l.cfg.Bubblewrap = p
			return nil
		}
	}
	return &UnavailableError{
		Reason: "bubblewrap is neither in the Codex package nor on the system",
		Fix:    "Install the Codex CLI from its npm package, which brings codex-resources/bwrap, or install bubblewrap.",
	}
}

// sources are the host directories of one tree as the starting user reaches
// them.
type sources struct {
	codex, home, workspace, tmp string
	// expose are the sources of Config.Expose, in its order.
	expose []string
}

// bwrapArgs is the command line that builds the jail and runs program in it.
// It holds no secret: other users of the host can read it.
func (c *Config) bwrapArgs(src sources, p Paths, program string, args []string) []string {
	a := []string{
		cmp.Or(c.Mark, "bwrap"),
		"--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
		"--hostname", "codex", "--die-with-parent",
		"--json-status-fd", statusFD, "--block-fd", blockFD,
	}
	if src.tmp != "" {
		a = append(a, "--bind", src.tmp, TmpDir)
	} else {
		a = append(a, "--perms", "1777", "--size", strconv.FormatInt(c.TmpBytes, 10), "--tmpfs", TmpDir)
	}
	a = append(a,
		"--perms", "0700", "--dir", p.Home,
		"--perms", "1777", "--size", "67108864", "--tmpfs", "/var/tmp",
		"--proc", "/proc", "--dev", "/dev",
		"--perms", "1777", "--size", strconv.FormatInt(c.ShmBytes, 10), "--tmpfs", "/dev/shm",
	)
	a = append(a, c.hostMounts(src.expose)...)
	return append(append(a,
		"--ro-bind", src.codex, CodexDir,
		"--bind", src.home, HomeDir,
		"--bind", src.workspace, WorkspaceDir,
		// Last, because bubblewrap makes the mount points above in them. /dev is
		// memory too, and nobody needs to make files there.
		"--remount-ro", "/dev", "--remount-ro", "/",
		"--chdir", WorkspaceDir,
		"--", program), args...)
}

// hostMounts shows the system's directories and covers the hidden ones among
// them. expose are the sources of the exposed directories.
func (c *Config) hostMounts(expose []string) []string {
	type mount struct {
		path string
		args []string
	}
	var mounts []mount
	var shown []string
	for i, dir := range c.Expose {
		dir = filepath.Clean(dir)
		shown = append(shown, dir)
		mounts = append(mounts, mount{dir, []string{"--ro-bind", expose[i], dir}})
	}
	for _, root := range systemRoots {
		st, err := os.Lstat(root)
		if err != nil {
			continue
		}
		if st.Mode()&os.ModeSymlink != 0 {
			// bin -> usr/bin: the target is shown by itself.
			if target, err := os.Readlink(root); err == nil {
				mounts = append(mounts, mount{root, []string{"--symlink", target, root}})
			}
			continue
		}
		shown = append(shown, root)
		mounts = append(mounts, mount{root, []string{"--ro-bind", root, root}})
	}
	for _, hide := range c.Hide {
		real, err := filepath.EvalSymlinks(hide)
		if err != nil || !slices.ContainsFunc(shown, func(root string) bool { return within(real, root) }) {
			continue // not there, or not shown
		}
		if c.UID != os.Geteuid() && !reachable(filepath.Dir(real)) {
			continue // closed to the tree's user, and to bubblewrap as that user
		}
		st, err := os.Stat(real)
		switch {
		case err != nil:
		case st.IsDir():
			mounts = append(mounts, mount{real, []string{"--tmpfs", real, "--remount-ro", real}})
		default:
			mounts = append(mounts, mount{real, []string{"--ro-bind", "/dev/null", real}})
		}
	}
	// Parents first, so that a mount does not cover one below it; the sort is
	// stable, so that hiding a shown root wins over showing it.
	slices.SortStableFunc(mounts, func(a, b mount) int { return strings.Compare(a.path, b.path) })
	var args []string
	for _, m := range mounts {
		args = append(args, m.args...)
	}
	return args
}

// within reports whether name is root or below it.
func within(name, root string) bool {
	return name == root || strings.HasPrefix(name, strings.TrimSuffix(root, "/")+"/")
}

// reachable reports whether every user may traverse dir and its parents.
func reachable(dir string) bool {
	for {
		if st, err := os.Stat(dir); err != nil || st.Mode()&0o001 == 0 {
			return false
		}
		if dir == "/" {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

// attr is how bubblewrap is started. The parent-death signal reaches it, and
// --die-with-parent passes it on to the tree.
func (l *Launcher) attr() *syscall.SysProcAttr {
	attr := groupAttr()
	if os.Geteuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: uint32(l.cfg.UID), Gid: uint32(l.cfg.GID)} //nolint:gosec // G115: a user id
	}
	return attr
}

func groupAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}
