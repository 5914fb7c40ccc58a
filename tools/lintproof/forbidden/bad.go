// Package forbidden does what only main, tests of time and chassis may do.
package forbidden

import (
	"fmt"
	"os"
	"time"
)

// Bad breaks three rules.
func Bad() {
	time.Sleep(time.Second) // want: wait on a channel
	fmt.Println("hello")    // want: use the injected slog.Logger
	_ = os.Getenv("HOME")   // want: only main and pkg/chassis touch the process
}
