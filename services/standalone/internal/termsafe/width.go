package termsafe

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Width is how many columns a cleaned line takes.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += columns(r)
	}
	return n
}

// columns is how many columns a character takes: none for marks that combine
// with the one before, two for East Asian wide ones and emoji.
func columns(r rune) int {
	switch {
	case r < 0x7f:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	case width.Neutral, width.EastAsianAmbiguous, width.EastAsianNarrow, width.EastAsianHalfwidth:
		return 1
	default:
		return 1
	}
}

// Truncate cuts a cleaned line to at most limit columns, with an ellipsis in
// the place of what was cut.
func Truncate(s string, limit int) string {
	if limit <= 0 {
		return ""
	}
	if Width(s) <= limit {
		return s
	}
	var b strings.Builder
	used := 0
	for _, r := range s {
		if used+columns(r) > limit-1 {
			break
		}
		used += columns(r)
		b.WriteRune(r)
	}
	b.WriteRune('…')
	return b.String()
}
