package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// flushWait is how long an exit waits for the client to read what was written.
const flushWait = time.Second

// outbox buffers output without bound and writes it behind the back of whoever
// made it: Codex has no backpressure, so a client that does not read must not
// stop the fake from reading its stdin either.
type outbox struct {
	mu     sync.Mutex
	buf    []byte
	closed bool
	wake   chan struct{}
	done   chan struct{}
}

func newOutbox(w, stderr io.Writer) *outbox {
	o := &outbox{wake: make(chan struct{}, 1), done: make(chan struct{})}
	go func() { // ends after close, or with the client's end of the pipe
		defer close(o.done)
		for range o.wake {
			b, last := o.take()
			if len(b) > 0 {
				if _, err := w.Write(b); err != nil {
					fmt.Fprintf(stderr, "fakecodex: stdout: %v\n", err)
					return
				}
			}
			if last {
				return
			}
		}
	}()
	return o
}

func (o *outbox) add(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.buf = append(o.buf, b...)
		o.signal()
	}
}

// close refuses more and waits for what is there to be read, but not for ever.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.signal()
	o.mu.Unlock()
	timer := time.NewTimer(flushWait)
	defer timer.Stop()
	select {
	case <-o.done:
	case <-timer.C:
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) take() (b []byte, last bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b, o.buf = o.buf, nil
	return b, o.closed
}
