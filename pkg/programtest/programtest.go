package programtest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Write writes a program that everybody may run, and the directories above it.
func Write(tb testing.TB, name string, content []byte) {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // G301: a jail's user passes through
		tb.Fatal(err)
	}
	syscall.ForkLock.RLock()                  // no child is started meanwhile
	err := os.WriteFile(name, content, 0o755) //nolint:gosec // G306: a program
	syscall.ForkLock.RUnlock()
	if err != nil {
		tb.Fatal(err)
	}
}
