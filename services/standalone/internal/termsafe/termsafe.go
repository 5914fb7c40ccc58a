package termsafe

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxCSI is the longest control sequence that is taken out whole. A longer one
// loses its escape character only and shows as text: hiding any amount of text
// behind an opened sequence must not work.
const maxCSI = 64

// Text returns s without anything that could drive a terminal. Newlines and
// tabs stay; CR LF and a lone CR become a newline.
func Text(s string) string { return clean(s, false) }

// Line is Text on one line: newlines and tabs become spaces.
func Line(s string) string { return clean(s, true) }

// JSON returns JSON text with every character that Text takes out escaped
// instead: the same value to a program, and nothing to a terminal.
func JSON(raw []byte) []byte {
	if plain(string(raw), false) {
		return raw
	}
	out := make([]byte, 0, len(raw)+16)
	for i := 0; i < len(raw); {
		r, size := utf8.DecodeRune(raw[i:])
		switch {
		case r < utf8.RuneSelf && r != 0x7f, printable(r) && (r != utf8.RuneError || size > 1):
			out = append(out, raw[i:i+size]...) // JSON has no control character below U+0020 in strings
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += size
	}
	return out
}

func clean(s string, oneLine bool) string {
	if plain(s, oneLine) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\x1b':
			size = escape(s[i:])
		case r == '\r' && i+1 < len(s) && s[i+1] == '\n':
			// the newline follows
		case r == '\n' || r == '\r':
			b.WriteByte(either(oneLine, ' ', '\n'))
		case r == '\t':
			b.WriteByte(either(oneLine, ' ', '\t'))
		case r == utf8.RuneError && size == 1:
			b.WriteRune(utf8.RuneError) // a raw byte may be a control of an 8-bit terminal
		case printable(r):
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

func either(cond bool, yes, no byte) byte {
	if cond {
		return yes
	}
	return no
}

// plain reports whether s needs no cleaning, the common case.
func plain(s string, oneLine bool) bool {
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c < 0x7f || !oneLine && (c == '\n' || c == '\t') {
			continue
		}
		return false
	}
	return true
}

// printable reports whether a character only shows itself.
func printable(r rune) bool {
	switch {
	case unicode.IsControl(r): // C0, DEL and C1
		return false
	case r == '\u200c' || r == '\u200d': // joiners that words and emoji need
		return true
	case unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
		return false
	default:
		return true
	}
}

// escape is the length of the escape sequence at the start of s: a complete CSI
// (colours, cursor) or OSC (titles, links, clipboard) sequence on one line, the
// escape character alone otherwise.
func escape(s string) int {
	if len(s) < 2 {
		return 1
	}
	switch s[1] {
	case '[':
		for i := 2; i < len(s) && i < maxCSI; i++ {
			switch c := s[i]; {
			case c >= 0x40 && c <= 0x7e:
				return i + 1
			case c < 0x20 || c > 0x3f:
				return 1
			}
		}
	case ']':
		for i := 2; i < len(s) && i < maxCSI; i++ {
			switch {
			case s[i] == '\a':
				return i + 1
			case s[i] == '\x1b' && i+1 < len(s) && s[i+1] == '\\':
				return i + 2
			case s[i] < 0x20:
				return 1
			}
		}
	}
	return 1
}
