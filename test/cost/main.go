// Command cost counts what jobs and an idle gateway cost on Google Cloud besides
// compute: it runs the real services with the real Codex CLI on the emulators,
// with a meter in every client, and multiplies with a dated price list.
//
//	go run ./test/cost [-jobs 3] [-json]
//
// Jobs are played faster than they are on a real model; the times of the gateway
// that follow the clock are shortened by the same factor.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/services/worker/codexversion"
	"codexgateway.dev/test/localcloud"
)

// Targets, besides compute.
const (
	targetJobs = 0.05 // dollars for 1,000 jobs of 30 s
	targetBill = 12.0 // dollars for the month of month1M
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("cost", flag.ContinueOnError)
	jobs := flags.Int("jobs", 3, "how many jobs of each kind are counted")
	if err := flags.Parse(args); err != nil {
		return err
	}
	all, err := measure(ctx, profiles(), *jobs)
	if err != nil {
		return err
	}
	return all.print(out)
}

// figures are all that is measured.
type figures struct {
	PricesAsOf string   `json:"prices_as_of"`
	Jobs       []perJob `json:"jobs"`
	Idle       idle     `json:"idle"`
}

func measure(ctx context.Context, of []profile, jobs int) (_ *figures, err error) {
	codex, err := codexversion.Locate("")
	if err != nil {
		return nil, fmt.Errorf("%w: run `make setup`", err)
	}
	cloud, err := localcloud.Start(ctx)
	if errors.Is(err, gcptest.ErrNoEmulators) {
		return nil, fmt.Errorf("NOT RUN: %w", err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cloud.Stop()) }()
	model, err := mockmodel.Start(ctx, mockmodel.Options{})
	if err != nil {
		return nil, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, model.Stop(ctx))
	}()
	dir, err := scratch()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	all := &figures{PricesAsOf: pricesAsOf}
	for _, p := range of {
		got, err := measureJobs(ctx, cloud, model, codex.Dir, dir, p, jobs)
		if err != nil {
			return nil, fmt.Errorf("jobs of %s: %w", p.name, err)
		}
		all.Jobs = append(all.Jobs, got)
	}
	all.Idle, err = measureIdle(ctx, cloud, model, codex.Dir, dir)
	return all, err
}

// print prints the figures for people and as one line of JSON.
func (f *figures) print(w io.Writer) error {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	p("Counted per job, watched by one client (prices of %s, us-central1, list, no free tier):\n", f.PricesAsOf)
	p("%-8s %7s %7s %7s %8s %8s %9s %7s %7s   %s", "job", "events", "reads", "writes", "messages", "kB out", "kB deliv.", "class A", "class B", "per 1,000 jobs")
	for i := range f.Jobs {
		p("%s", f.Jobs[i].row())
	}
	p("\nIdle, one of each service, a sweep every %s: %.0f reads a month, %d writes, %d bytes of messages: $%.2f a month at list prices, $%.2f with Firestore's free %d reads a day.",
		reconcileIdle, f.Idle.Reads, f.Idle.Writes, f.Idle.Bytes, f.Idle.List, f.Idle.Dollars, freeDocReads)
	list, free := month1M.lines()
	p("A month of %d requests, %d document reads, %d writes and %.0f GiB stored, with the edge's compute: $%.2f at list prices, $%.2f with the free tiers.",
		month1M.Requests, month1M.Reads, month1M.Writes, month1M.GiB, list, free)
	p("Targets: 1,000 jobs of 30 s at most $%.2f, idle $0, that month under $%.0f.\n", targetJobs, targetBill)
	line, err := json.Marshal(f)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}
