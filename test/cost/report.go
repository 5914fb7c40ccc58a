package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"codexgateway.dev/pkg/gcp/meter"
)

// figures are all that is measured.
type figures struct {
	PricesAsOf string    `json:"prices_as_of"`
	Jobs       []*perJob `json:"jobs"`
	Sweeps     *sweeps   `json:"sweeps"`
	Idle       *idle     `json:"idle"`
}

// print prints the figures for people and as one line of JSON.
func (f *figures) print(w io.Writer) error {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	p("Besides compute and the model, at the list prices of %s (us-central1, no free tier).\n", f.PricesAsOf)
	p("A job as it is counted, watched by one client through one edge:")
	for _, j := range f.Jobs {
		p("  %s", j.Profile.words())
	}
	p("\n%-8s %7s %7s %7s %7s %8s %8s %9s %8s %8s   %s", "one job", "events", "reads", "writes", "deletes", "messages", "kB out", "kB deliv.", "class A", "class B", "per 1,000 jobs")
	for _, j := range f.Jobs {
		p("%s   $%.4f", row(j.Profile.Name, j.Events, j.Jobs, j.Total), j.Dollars)
		p("%s   $%.4f", row(" log gone", 0, j.Jobs, j.Removal), j.RemovalDollars)
	}
	p("\nThe reconciler, a sweep every %s while jobs run: %d reads with one job running, %d with %d, and %d more every %s.",
		f.Sweeps.Interval, f.Sweeps.One, f.Sweeps.Ten, many, f.Sweeps.UpkeepReads, f.Sweeps.Upkeep)
	p("That is %.0f reads an hour at one job at a time and %.0f at %d.",
		f.Sweeps.reads(time.Hour, f.Sweeps.Interval, f.Sweeps.One), f.Sweeps.reads(time.Hour, f.Sweeps.Interval, f.Sweeps.Ten), many)
	for _, j := range f.Jobs {
		p("  1,000 jobs of %s with their share: one at a time $%.4f (%.1f reads each), %d at a time $%.4f (%.1f reads each)",
			j.Profile.Name, j.DollarsOne, j.ReadsOne, many, j.DollarsTen, j.ReadsTen)
	}
	text, beat := marginal()
	p("One more second of streamed text costs $%.4f per 1,000 jobs, one more heartbeat (every 30 s) $%.4f.", text, beat)
	f.Idle.print(p, f.Sweeps)
	list, free := month1M.lines()
	p("A month of %d requests, %d document reads, %d writes and %.0f GiB stored, with the edge's compute: $%.2f at list prices, $%.2f with the free tiers.",
		month1M.Requests, month1M.Reads, month1M.Writes, month1M.GiB, list, free)
	p("Targets: 1,000 jobs of 30 s, %d at a time, at most $%.2f; idle $0; that month under $%.0f.\n", many, targetJobs, targetBill)
	line, err := json.Marshal(f)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}

func (i *idle) print(p func(string, ...any), s *sweeps) {
	p("\nIdle for a month, with one of each service:")
	for _, way := range []struct {
		name string
		reading
	}{
		{fmt.Sprintf("a reconciler that sweeps every %s", s.Idle), i.Loop},
		{"a reconciler that is called every minute", i.Tick},
	} {
		p("  %s: %.0f reads, $%.2f at list prices, $%.2f with Firestore's free %d reads a day", way.name, way.Reads, way.List, way.Free, freeDocReads)
	}
	p("  and %d reads of the other services, %d writes, %d deletes, %d bytes of messages, %d operations on Cloud Storage\n",
		i.Services.DocReads, i.Other.DocWrites, i.Other.DocDeletes, i.Other.PublishBytes+i.Other.DeliverBytes, i.Other.BlobReads+i.Other.BlobWrites)
}

// row is counts for one of so many jobs.
func row(name string, events, jobs int, c meter.Counts) string {
	per := func(n int64) float64 { return float64(n) / float64(jobs) }
	return fmt.Sprintf("%-8s %7.1f %7.1f %7.1f %7.1f %8.1f %8.1f %9.1f %8.1f %8.1f",
		name, per(int64(events)), per(c.DocReads), per(c.DocWrites), per(c.DocDeletes), per(c.Published),
		per(c.PublishBytes)/1000, per(c.DeliverBytes)/1000, per(c.BlobWrites), per(c.BlobReads))
}

// marginal is what a second of text and a heartbeat cost, for 1,000 jobs. Text
// is stored and told ten times a second; a message of it is as small as Pub/Sub
// bills.
func marginal() (text, heartbeat float64) {
	const flushes, message = 10, 1000
	text = dollars(meter.Counts{DocWrites: flushes, PublishBytes: flushes * message, DeliverBytes: flushes * message})
	return text * 1000, dollars(beat) * 1000
}
