package freeport

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
)

// The ports lie in [low, low+count): Linux serves port 0 from 32768 up, and
// macOS from 49152. A process begins stride after its neighbour by pid.
const (
	low    = 10_000
	count  = 22_000
	stride = 211
)

var given atomic.Int64

// Addr is a loopback address, host:port, that nobody listens on and that this
// process has not been given before. It panics when there is none: the machine
// has thousands of listeners then.
func Addr() string {
	for range count {
		addr := fmt.Sprintf("127.0.0.1:%d", low+(int64(os.Getpid())*stride+given.Add(1))%count)
		if ln, err := net.Listen("tcp", addr); err == nil { //nolint:noctx // it returns at once
			_ = ln.Close()
			return addr
		}
	}
	panic("freeport: no free port")
}
