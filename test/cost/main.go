// Command cost counts what jobs and an idle gateway cost on Google Cloud besides
// compute: it runs the real services with the real Codex CLI on the emulators,
// with a meter in every client, and multiplies with a dated price list.
//
//	go run ./test/cost [-jobs 3]
//
// Commands and the model's thinking are played faster than they are; see profile
// for what that leaves alone.
package main

import (
	"context"
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
	targetJobs = 0.05 // dollars for 1,000 jobs of 30 s, ten at a time
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
	codex, err := codexversion.Locate("")
	if err != nil {
		return fmt.Errorf("%w: run `make setup`", err)
	}
	all, err := measure(ctx, codex.Dir, profiles(), *jobs)
	if errors.Is(err, gcptest.ErrNoEmulators) {
		return fmt.Errorf("NOT RUN: %w", err)
	}
	if err != nil {
		return err
	}
	return all.print(out)
}

// bench is what gateways are measured on.
type bench struct {
	cloud *localcloud.Cloud
	model *mockmodel.Running
	// codex is the directory of the Codex CLI, dir where workers work.
	codex, dir string
}

// newBench starts a bench; close ends it.
func newBench(ctx context.Context, codex string) (b *bench, err error) {
	b = &bench{codex: codex}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(ctx))
		}
	}()
	if b.cloud, err = localcloud.Start(ctx); err != nil {
		return b, err
	}
	if b.model, err = mockmodel.Start(ctx, mockmodel.Options{}); err != nil {
		return b, err
	}
	b.dir, err = scratch()
	return b, err
}

func (b *bench) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var all []error
	if b.model != nil {
		all = append(all, b.model.Stop(ctx))
	}
	if b.cloud != nil {
		all = append(all, b.cloud.Stop())
	}
	if b.dir != "" {
		all = append(all, os.RemoveAll(b.dir))
	}
	return errors.Join(all...)
}

func measure(ctx context.Context, codex string, of []profile, jobs int) (_ *figures, err error) {
	b, err := newBench(ctx, codex)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	all := &figures{PricesAsOf: pricesAsOf}
	if all.Sweeps, err = measureSweeps(ctx, b.cloud); err != nil {
		return nil, err
	}
	for _, p := range of {
		got, err := measureJobs(ctx, b, p, jobs)
		if err != nil {
			return nil, fmt.Errorf("jobs of %s: %w", p.Name, err)
		}
		got.bear(all.Sweeps)
		all.Jobs = append(all.Jobs, got)
	}
	all.Idle, err = measureIdle(ctx, b, all.Sweeps)
	return all, err
}
