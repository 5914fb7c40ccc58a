package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"codexgateway.dev/services/standalone/internal/progress"
	"codexgateway.dev/services/standalone/internal/termsafe"
)

// terminal finds out whether w is a terminal.
func terminal(w io.Writer) (width func() int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return nil, false
	}
	return func() int {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil || columns < 1 {
			return 80
		}
		return columns
	}, true
}

// env is a variable's value.
func (a *app) env(name string) string {
	v, _ := a.LookupEnv(name)
	return v
}

// color reports whether standard output takes colours (https://no-color.org).
func (a *app) color() bool {
	_, ok := a.Terminal(a.Stdout)
	return ok && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb"
}

// view shows a job's events the way standard output can.
func (a *app) view(asJSON bool) *progress.View {
	opt := progress.Options{Out: a.Stdout}
	width, ok := a.Terminal(a.Stdout)
	switch {
	case asJSON:
		opt.Mode = progress.JSON
	case ok && a.env("TERM") != "dumb":
		opt.Mode, opt.Width, opt.Color = progress.Live, width, a.color()
	default:
		opt.Mode = progress.Plain
	}
	return progress.New(opt)
}

// printRaw prints a result as the gateway sent it, on one line.
func (a *app) printRaw(raw json.RawMessage) error {
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil {
		return fmt.Errorf("the gateway's answer: %w", err)
	}
	_, err := fmt.Fprintf(a.Stdout, "%s\n", termsafe.JSON(line.Bytes()))
	return err
}

// table prints rows in aligned columns, the last one as it is. Cells may hold
// others' text.
func (a *app) table(rows [][]string) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			row[i] = termsafe.Line(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], termsafe.Width(row[i]))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-termsafe.Width(cell)+2))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(a.Stdout, b.String())
	return err
}
