package methods

import (
	"strings"
	"testing"
)

// FuzzHeaderKey: a key that is quoted as RFC 8941 says is the key without the
// quotes; one that is bare is itself.
func FuzzHeaderKey(f *testing.F) {
	for _, seed := range []string{"", `"`, `""`, `"a"`, "a", `"a`, `a"b`, `\`, "\x00", "\u00e9"} {
		f.Add(seed)
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	f.Fuzz(func(t *testing.T, s string) {
		printable := s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
		if got, ok := headerKey([]string{`"` + escape.Replace(s) + `"`}); ok != printable || ok && got != s {
			t.Errorf("%q in quotes becomes %q, %t", s, got, ok)
		}
		if got, ok := headerKey([]string{s}); ok && !strings.HasPrefix(s, `"`) && got != s {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}
