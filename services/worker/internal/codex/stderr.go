package codex

import (
	"bytes"
	"io"
	"sync"
)

// stderrKeep is how much of the end of stderr is kept for diagnostics.
const stderrKeep = 64 << 10

// tail keeps the last bytes written to it.
type tail struct {
	mu      sync.Mutex
	buf     []byte
	clipped bool
}

var _ io.Writer = (*tail)(nil)

// Write implements io.Writer and never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if len(p) > stderrKeep {
		p, t.clipped = p[len(p)-stderrKeep:], true
	}
	t.buf = append(t.buf, p...)
	// Compacting at twice the size keeps a chatty process from moving 64 KiB for
	// every line.
	if len(t.buf) > 2*stderrKeep {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-stderrKeep:]...)
		t.clipped = true
	}
	return n, nil
}

// text returns the kept end. When the start was cut off it begins at a whole
// line: half a secret would slip past redaction.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, clipped := t.buf, t.clipped
	if len(b) > stderrKeep {
		b, clipped = b[len(b)-stderrKeep:], true
	}
	if clipped {
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	return string(b)
}
