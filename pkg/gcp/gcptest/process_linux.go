package gcptest

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent makes the kernel end the emulator with its parent, so that a
// killed test leaves no Java process behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// stands returns when a child that was sent SIGSTOP has stopped, or ended: one
// of its threads must run to take the signal, the others go on until then.
func stands(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}
