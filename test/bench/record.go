package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// report is a whole run.
type report struct {
	Machine machine
	Figures []figure
}

// The page keeps its last run between these lines.
const (
	recordBegin = "<!-- last run: begin, written by go run ./test/bench -record -->\n"
	recordEnd   = "<!-- last run: end -->\n"
)

// record replaces the last run in a page.
func (r *report) record(page string) error {
	raw, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(raw), recordBegin)
	_, after, ends := strings.Cut(rest, recordEnd)
	if !begins || !ends {
		return errors.New(page + " has no place for the last run")
	}
	table, err := r.table()
	if err != nil {
		return err
	}
	return os.WriteFile(page, []byte(before+recordBegin+table+recordEnd+after), 0o644) //nolint:gosec // G306: a page of the repository
}

// table is the run for people.
func (r *report) table() (string, error) {
	var b strings.Builder
	m := &r.Machine
	fmt.Fprintf(&b, "%s, %s, %d CPUs, %g GiB, %s, %s, Codex CLI %s.\n\n", m.Date, m.Model, m.CPUs, m.MemoryGiB, m.Kernel, m.Go, m.Codex)
	b.WriteString("| Figure | Value | Target | Holds | Runs | Detail |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, f := range r.Figures {
		holds := ""
		if f.OK != nil {
			holds = map[bool]string{true: "yes", false: "no"}[*f.OK]
		}
		detail, err := json.Marshal(f.Detail)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "| `%s` | %g %s | %s | %s | %d | `%s` |\n", f.Figure, f.Value, f.Unit, f.Target, holds, f.Runs, detail)
	}
	return b.String(), nil
}
