package gitpatch

import (
	"strings"
	"testing"
	"unicode"
)

// FuzzNumstat: the names of a hostile patch's files do nothing to a terminal.
func FuzzNumstat(f *testing.F) {
	for _, seed := range []string{"1\t2\ta.txt\x00-\t-\tb.png\x00", "\t\t\x00", "1\t2\t\x1b[2J\x00", "x", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, file := range numstat(raw) {
			if strings.ContainsFunc(file.Path, unicode.IsControl) {
				t.Errorf("the path %q", file.Path)
			}
		}
		for _, line := range lines(raw) {
			if strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
				t.Errorf("the line %q", line)
			}
		}
	})
}
