package gitpatch

import (
	"bufio"
	"bytes"
	"io"
	"strings"

	"codexgateway.dev/services/standalone/internal/termsafe"
)

// Colorize writes a patch for a terminal: clean, and coloured if color is set.
func Colorize(w io.Writer, patch []byte, color bool) error {
	out := bufio.NewWriter(w)
	header := true // between "diff --git" and the first hunk
	for raw := range bytes.Lines(patch) {
		line := termsafe.Text(strings.ReplaceAll(strings.TrimSuffix(string(raw), "\n"), "\r", ""))
		switch {
		case strings.HasPrefix(line, "diff --git "):
			header = true
		case strings.HasPrefix(line, "@@"):
			header = false
		}
		code := ""
		if color {
			code = lineColor(line, header)
		}
		if code != "" {
			line = "\x1b[" + code + "m" + line + "\x1b[0m"
		}
		if _, err := out.WriteString(line + "\n"); err != nil {
			return err
		}
	}
	return out.Flush()
}

func lineColor(line string, header bool) string {
	switch {
	case header:
		return "1"
	case strings.HasPrefix(line, "@@"):
		return "36"
	case strings.HasPrefix(line, "+"):
		return "32"
	case strings.HasPrefix(line, "-"):
		return "31"
	default:
		return ""
	}
}
