package termsafe_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"codexgateway.dev/services/standalone/internal/termsafe"
)

func TestTextTakesTheControlsOut(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ in, want string }{
		"plain":               {"hello\n\tworld", "hello\n\tworld"},
		"colour":              {"\x1b[1;31mred\x1b[0m", "red"},
		"cursor and clear":    {"a\x1b[2J\x1b[Hb", "ab"},
		"title":               {"a\x1b]0;owned\ab", "ab"},
		"link":                {"\x1b]8;;http://x\x1b\\click\x1b]8;;\x1b\\", "click"},
		"unfinished sequence": {"a\x1b[31", "a[31"},
		"endless sequence":    {"\x1b[" + strings.Repeat("1;", 200) + "m", "[" + strings.Repeat("1;", 200) + "m"},
		"hiding behind a title": {
			"\x1b]0;\nshown", "]0;\nshown",
		},
		"device control":     {"\x1bP+q544e\x1b\\x", "P+q544e\\x"},
		"C1 as a character":  {"a\u009b31mb", "a31mb"},
		"C1 as a raw byte":   {"a\x9b31mb", "a\ufffd31mb"},
		"backspace and bell": {"a\b\ab", "ab"},
		"overwriting":        {"safe\rrm -rf\r\nx", "safe\nrm -rf\nx"},
		"bidi override":      {"a\u202eb\u2066c", "abc"},
		"hidden tag":         {"a\U000e0041b", "ab"},
		"words and emoji":    {"نمی\u200cخواهم 👩\u200d🚀 日本", "نمی\u200cخواهم 👩\u200d🚀 日本"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := termsafe.Text(tc.in); got != tc.want {
				t.Errorf("Text(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func TestLineIsOneLine(t *testing.T) {
	t.Parallel()
	if got := termsafe.Line("a\nb\r\nc\td"); got != "a b c d" {
		t.Errorf("got %q", got)
	}
}

func TestJSONStaysTheSameValue(t *testing.T) {
	t.Parallel()
	const raw = "{\"a\": \"x\u009b2J\u202e日本\U000e0041\x7f\\u001b\"}\n"
	got := termsafe.JSON([]byte(raw))
	if want := "{\"a\": \"x\\u009b2J\\u202e日本\\udb40\\udc41\\u007f\\u001b\"}\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var before, after map[string]string
	if err := json.Unmarshal([]byte(raw), &before); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &after); err != nil || before["a"] != after["a"] {
		t.Errorf("%q became %q, %v", before, after, err)
	}
}

func TestTruncateKeepsToTheColumns(t *testing.T) {
	t.Parallel()
	cases := []struct {
		in    string
		limit int
		want  string
	}{
		{"hello", 5, "hello"},
		{"hello", 4, "hel…"},
		{"日本語", 6, "日本語"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日…"},
		{"e\u0301e\u0301", 2, "e\u0301e\u0301"},
		{"x", 0, ""},
	}
	for _, tc := range cases {
		if got := termsafe.Truncate(tc.in, tc.limit); got != tc.want {
			t.Errorf("Truncate(%q, %d) = %q, want %q", tc.in, tc.limit, got, tc.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("plain", 10)
	f.Add("\x1b[31m\x1b]0;x\a\x9b\u009b\u202e\r\n", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		for _, got := range []string{termsafe.Text(s), termsafe.Line(s)} {
			if !utf8.ValidString(got) {
				t.Fatalf("not UTF-8: %q", got)
			}
			for _, r := range got {
				if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
					t.Fatalf("%q holds %U", got, r)
				}
			}
		}
		line := termsafe.Line(s)
		if strings.ContainsAny(line, "\n\t") {
			t.Fatalf("more than one line: %q", line)
		}
		if limit %= 200; limit > 0 && termsafe.Width(termsafe.Truncate(line, limit)) > limit {
			t.Fatalf("Truncate(%q, %d) is wider", line, limit)
		}
	})
}
