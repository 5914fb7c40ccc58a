package jail

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// endLeftovers kills the bubblewraps with the mark. The parent-death signal ends
// a jail with its worker, but bubblewrap's child is tied to its parent only when
// the jail is almost built: a worker killed within those milliseconds leaves a
// child that waits for ever to be set up. It has run nothing and can run
// nothing; it only holds memory and mounts. It runs on the launcher's thread,
// whose real user may signal the trees' user without a capability.
func endLeftovers(mark string) error {
	if mark == "" {
		return nil
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return fmt.Errorf("jail: leftovers: %w", err)
	}
	var all []error
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && hasMark(pid, mark) {
			all = append(all, endLeftover(pid, mark))
		}
	}
	return errors.Join(all...)
}

// hasMark reports whether a process was started under the mark.
func hasMark(pid int, mark string) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	name, _, _ := bytes.Cut(raw, []byte{0})
	return err == nil && string(name) == mark
}

// endLeftover kills one process and waits until it is dead.
func endLeftover(pid int, mark string) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("jail: leftover %d: pidfd_open: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if !hasMark(pid, mark) {
		return nil // the number has passed to a stranger
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("jail: leftover %d: kill: %w", pid, err)
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(killWait/time.Millisecond)) //nolint:gosec // G115: a file descriptor
	return nil
}
