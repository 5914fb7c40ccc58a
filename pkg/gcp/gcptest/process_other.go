//go:build !linux

package gcptest

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// stands cannot be known here.
func stands(int) error { return nil }
