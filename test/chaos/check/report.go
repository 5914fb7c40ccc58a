package check

import (
	"fmt"
	"io"
	"slices"
)

// Rule is one kind of violation.
type Rule string

// The rules. Each counts what broke it: events, watchers' views of them, or jobs.
const (
	// Lost: an accepted job that is gone, an event that a watcher never got, one
	// that a watcher got and the log does not have.
	Lost Rule = "lost"
	// Doubled: an event told twice to one watcher, or twice in a log.
	Doubled Rule = "doubled"
	// Reordered: an event told behind a later one.
	Reordered Rule = "reordered"
	// Altered: an event that is another one in the log.
	Altered Rule = "altered"
	// Unterminated: an accepted job without an end.
	Unterminated Rule = "unterminated"
	// EndedTwice: something after the terminal event.
	EndedTwice Rule = "ended_twice"
	// Idempotency: more than one job of one key.
	Idempotency Rule = "idempotency"
	// Overlap: a job of a conversation began before an earlier one had ended.
	Overlap Rule = "overlap"
	// Disagreeing: two answers of the API about one job contradict each other.
	Disagreeing Rule = "disagreeing"
	// Blamed: a job that failed for what was done to the gateway: its error says
	// that the gateway itself went wrong.
	Blamed Rule = "blamed"
)

// Rules are all of them, in the order they are printed.
func Rules() []Rule {
	return []Rule{Lost, Doubled, Reordered, Altered, Unterminated, EndedTwice, Idempotency, Overlap, Disagreeing, Blamed}
}

// maxFindings is how many violations of a rule are told in detail.
const maxFindings = 5

// Report is the judgement.
type Report struct {
	JobsAccepted    int            `json:"jobs_accepted"`
	JobsByState     map[string]int `json:"jobs_by_state"`
	FailuresByCode  map[string]int `json:"failures_by_code"`
	EventsInLogs    int            `json:"events_in_logs"`
	EventsDelivered int            `json:"events_delivered"`
	Watchers        int            `json:"watchers"`
	Reconnects      int            `json:"reconnects"`
	Resubmits       int            `json:"resubmits"`
	Probes          int            `json:"conversation_probes"`
	Violations      map[Rule]int   `json:"violations"`
	// Findings are the first few of each rule.
	Findings map[Rule][]string `json:"findings,omitempty"`
}

func (r *Report) found(rule Rule, n int, format string, args ...any) {
	r.Violations[rule] += n
	if len(r.Findings[rule]) < maxFindings {
		r.Findings[rule] = append(r.Findings[rule], fmt.Sprintf(format, args...))
	}
}

// Failed reports whether a rule was broken.
func (r *Report) Failed() bool {
	for _, n := range r.Violations {
		if n > 0 {
			return true
		}
	}
	return false
}

// counts lists counts by name.
func counts(by map[string]int) []string {
	rows := make([]string, 0, len(by))
	for name, n := range by {
		rows = append(rows, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(rows)
	return rows
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	row := func(name string, v any) error {
		_, err := fmt.Fprintf(w, "  %-24s %v\n", name, v)
		return err
	}
	rows := []struct {
		name string
		v    any
	}{
		{"jobs accepted", r.JobsAccepted},
		{"jobs by state", counts(r.JobsByState)},
		{"failures by code", counts(r.FailuresByCode)},
		{"events in logs", r.EventsInLogs},
		{"events delivered", r.EventsDelivered},
		{"watchers", r.Watchers},
		{"reconnects", r.Reconnects},
		{"resubmits", r.Resubmits},
		{"conversation probes", r.Probes},
	}
	for _, x := range rows {
		if err := row(x.name, x.v); err != nil {
			return err
		}
	}
	for _, rule := range Rules() {
		if err := row(string(rule), r.Violations[rule]); err != nil {
			return err
		}
		for _, f := range r.Findings[rule] {
			if _, err := fmt.Fprintf(w, "      %s\n", f); err != nil {
				return err
			}
		}
	}
	return nil
}
