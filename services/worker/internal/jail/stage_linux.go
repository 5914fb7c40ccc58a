package jail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// openStage gives the calling thread a mount namespace of its own with an
// empty tmpfs that any user may traverse, and returns its directory. A root
// worker binds a job's directories there before it starts the tree as an
// unprivileged user, who could not reach them below a directory such as /root.
// Without the privilege for it there is no stage, and directories must be
// reachable as they are.
func openStage() string {
	if os.Geteuid() != 0 {
		return ""
	}
	// A fixed name: the directory stays behind empty when the worker is killed,
	// and one is enough for all workers, as each mounts over it privately.
	dir := filepath.Join(os.TempDir(), ".codexgw-jail")
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) { //nolint:gosec // G301: other users pass through
		return ""
	}
	var st unix.Stat_t
	if unix.Lstat(dir, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != 0 {
		return ""
	}
	if unix.Unshare(unix.CLONE_NEWNS) != nil {
		return ""
	}
	if unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "") != nil {
		return ""
	}
	if unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=4m") != nil {
		return ""
	}
	return dir
}

// becomeReal sets the real user of the calling thread, and of it alone, to the
// user the trees run as. The kernel compares it when the limits of another
// process are set; a root worker in a container usually has not the capability
// that would do instead. The effective user, which decides everything else,
// stays root.
func becomeReal(uid, gid int) {
	const keep = ^uintptr(0)
	_, _, _ = unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), keep, keep)
	_, _, _ = unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), keep, keep)
}

// inheritNothing marks every descriptor the worker inherited, so that no tree
// gets them; those the worker opens itself are marked from the start.
func inheritNothing() {
	_ = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
}

// staged are directories bound below the stage for one start.
type staged struct {
	dir    string
	mounts []string
}

// bind makes src reachable and returns the path to use for it. It runs on the
// launcher's thread.
func (s *staged) bind(src string) (string, error) {
	if s.dir == "" {
		return src, nil
	}
	dst := filepath.Join(s.dir, strconv.Itoa(len(s.mounts)))
	if err := os.MkdirAll(dst, 0o755); err != nil { //nolint:gosec // G301: the tree's user passes through
		return "", fmt.Errorf("jail: stage: %w", err)
	}
	if err := unix.Mount(src, dst, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", fmt.Errorf("jail: stage %s: %w", src, err)
	}
	s.mounts = append(s.mounts, dst)
	return dst, nil
}

// clear unmounts what was bound; the tree has its own copy by then. It runs on
// the launcher's thread, so no two starts use the stage at once.
func (s *staged) clear() {
	for _, dir := range slices.Backward(s.mounts) {
		_ = unix.Unmount(dir, unix.MNT_DETACH) // worst case it lasts until Close
	}
	s.mounts = nil
}
