package gcptest

import "syscall"

// dieWithParent makes the kernel end the emulator with its parent, so that a
// killed test leaves no Java process behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
