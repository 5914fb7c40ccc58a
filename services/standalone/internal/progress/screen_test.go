package progress_test

import (
	"strings"
	"testing"

	"codexgateway.dev/services/standalone/internal/termsafe"
)

// terminal is what a person sees: it interprets what is written as a terminal
// of the given width would, and fails the test on anything that a terminal
// could be driven with.
type terminal struct {
	t      *testing.T
	width  int
	rows   [][]string // one string per column; a wide character's second is ""
	col    int
	escape bool
	buf    string
}

func newTerminal(t *testing.T, width int) *terminal {
	t.Helper()
	return &terminal{t: t, width: width, rows: [][]string{nil}}
}

// Write implements io.Writer.
func (v *terminal) Write(p []byte) (int, error) {
	for _, r := range string(p) {
		v.rune(r)
	}
	return len(p), nil
}

func (v *terminal) rune(r rune) {
	switch {
	case v.escape:
		v.buf += string(r)
		if r == 'm' {
			v.escape, v.buf = false, ""
		} else if len(v.buf) > 8 || !strings.ContainsRune("[0123456789;", r) {
			v.t.Fatalf("an escape sequence that is no colour: %q", v.buf)
		}
	case r == '\x1b':
		v.escape = true
	case r == '\r':
		v.col = 0
	case r == '\n':
		v.rows, v.col = append(v.rows, nil), 0
	case r < ' ' && r != '\t' || r == 0x7f:
		v.t.Fatalf("control character %U", r)
	default:
		v.put(r)
	}
}

func (v *terminal) put(r rune) {
	w := termsafe.Width(string(r))
	if v.col+w > v.width {
		v.rows, v.col = append(v.rows, nil), 0
	}
	row := v.rows[len(v.rows)-1]
	for len(row) < v.col+w {
		row = append(row, " ")
	}
	for i := range w {
		row[v.col+i] = ""
	}
	if w > 0 {
		row[v.col] = string(r)
	}
	v.rows[len(v.rows)-1], v.col = row, v.col+w
}

// String is what the screen and its scrollback show.
func (v *terminal) String() string {
	var b strings.Builder
	for _, row := range v.rows {
		b.WriteString(strings.TrimRight(strings.Join(row, ""), " "))
		b.WriteByte('\n')
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// bottom is the line the cursor is on.
func (v *terminal) bottom() string { return strings.Join(v.rows[len(v.rows)-1], "") }
