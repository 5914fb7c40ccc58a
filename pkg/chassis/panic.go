package chassis

import (
	"fmt"
	"runtime/debug"
)

// PanicError is a panic that was contained: the process ends in order and with
// exit code 2 instead of on the spot.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// contain turns a panic into an error. It is deferred.
func contain(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: debug.Stack()}
	}
}
