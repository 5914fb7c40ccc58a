package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"codexgateway.dev/services/standalone/internal/termsafe"
)

// Check is one thing that must be right.
type Check struct {
	// Name is what is checked, two or three words.
	Name string
	// Run returns what was found, in a few words; with an error, which is what
	// is wrong, also what to do about it.
	Run func(ctx context.Context) (detail, fix string, err error)
}

// Result is what one check found.
type Result struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	// Problem and Fix are set when OK is false.
	Problem string `json:"problem,omitempty"`
	Fix     string `json:"fix,omitempty"`
}

// Report is the outcome of all checks.
type Report struct {
	OK     bool     `json:"ok"`
	Checks []Result `json:"checks"`
}

// checkTimeout bounds one check: a sandbox probe starts processes.
const checkTimeout = 30 * time.Second

// Run runs the checks in turn. each, if not nil, hears of every result at once.
func Run(ctx context.Context, checks []Check, each func(Result)) Report {
	report := Report{OK: true, Checks: make([]Result, 0, len(checks))}
	for _, c := range checks {
		r := run(ctx, c)
		report.OK = report.OK && r.OK
		report.Checks = append(report.Checks, r)
		if each != nil {
			each(r)
		}
	}
	return report
}

func run(ctx context.Context, c Check) (r Result) {
	ctx, cancel := context.WithTimeoutCause(ctx, checkTimeout, fmt.Errorf("no result within %s", checkTimeout))
	defer cancel()
	defer func() {
		// One broken check must not hide the others.
		if v := recover(); v != nil {
			r = Result{Name: c.Name, Problem: fmt.Sprintf("the check itself failed: %v", v), Fix: "Report this as a defect."}
		}
	}()
	detail, fix, err := c.Run(ctx)
	r = Result{Name: c.Name, OK: err == nil, Detail: termsafe.Line(detail)}
	if err != nil {
		r.Problem, r.Fix = termsafe.Line(err.Error()), termsafe.Line(fix)
	}
	return r
}

// Write writes one result for people.
func (r Result) Write(w io.Writer) error {
	if r.OK {
		_, err := fmt.Fprintf(w, "ok     %-16s %s\n", r.Name, r.Detail)
		return err
	}
	text := r.Problem
	if r.Detail != "" {
		text = r.Detail + ": " + text
	}
	_, err := fmt.Fprintf(w, "wrong  %-16s %s\n", r.Name, text)
	if err == nil && r.Fix != "" {
		_, err = fmt.Fprintf(w, "       %-16s → %s\n", "", r.Fix)
	}
	return err
}

// WriteJSON writes a report as one line of JSON.
func (r Report) WriteJSON(w io.Writer) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return err
	}
	_, err := w.Write(termsafe.JSON(line.Bytes()))
	return err
}
