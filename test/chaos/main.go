package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"codexgateway.dev/services/worker/codexversion"
	"codexgateway.dev/test/chaos/check"
	"codexgateway.dev/test/chaos/internal/campaign"
	"codexgateway.dev/test/chaos/internal/node"
	"codexgateway.dev/test/chaos/internal/schedule"
	"codexgateway.dev/test/chaos/internal/wire"
)

func main() {
	if node.Is(os.Args) {
		os.Exit(node.Run(context.Background(), os.Args[1:], os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// standard is a campaign as make chaos runs it.
func standard() campaign.Config {
	return campaign.Config{
		Platform: schedule.Embedded, Seed: 1, Length: 5 * time.Minute, Gap: 1500 * time.Millisecond, Settle: 3 * time.Minute,
		Edges: 2, Workers: 3, Reconcilers: 2, Conversations: 5, Watchers: 20,
		Lease: 2 * time.Second, ClaimDelay: time.Second, Skew: 30 * time.Second,
		Faults: wire.Faults{
			Lose: 0.02, Duplicate: 0.02, Delay: 0.05, MaxDelay: 300 * time.Millisecond,
			Refuse: 0.003, Unanswered: 0.005, NoRead: 0.003,
		},
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg := standard()
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "decides the schedule, the clocks and the dice")
	flags.DurationVar(&cfg.Length, "length", cfg.Length, "how long the gateway is harmed")
	flags.DurationVar(&cfg.Gap, "gap", cfg.Gap, "the mean time between two harms")
	flags.DurationVar(&cfg.Settle, "settle", cfg.Settle, "how long accepted jobs may take to end afterwards")
	flags.IntVar(&cfg.Watchers, "watchers", cfg.Watchers, "how many follow each job")
	flags.IntVar(&cfg.Conversations, "conversations", cfg.Conversations, "how many conversations run at one time")
	flags.IntVar(&cfg.Edges, "edges", cfg.Edges, "how many edges run")
	flags.IntVar(&cfg.Workers, "workers", cfg.Workers, "how many workers run")
	flags.IntVar(&cfg.Reconcilers, "reconcilers", cfg.Reconcilers, "how many reconcilers run")
	flags.DurationVar(&cfg.Skew, "skew", cfg.Skew, "how far a node's clock is off at most, either way")
	flags.BoolVar(&cfg.BreakFence, "break-fence", false, "let the store overwrite the event log: the campaign must then fail")
	mustFail := flags.Bool("must-fail", false, "exit with 0 only when events were lost, doubled or altered")
	only := flags.String("only", "", "the harms to choose from, with commas; empty: all")
	real := flags.Bool("real", false, "the last worker has the real Codex CLI")
	list := flags.Bool("list", false, "print the schedule and end")
	verbose := flags.Bool("v", false, "tell every harm")
	flags.Func("platform", "what documents and messages are on: embedded (default) or gcp, the emulators of Google Cloud", func(v string) error {
		cfg.Platform = schedule.Platform(v)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if cfg.Platform != schedule.Embedded && cfg.Platform != schedule.Cloud {
		_, _ = fmt.Fprintf(stderr, "chaos: there is no platform %q\n", cfg.Platform)
		return 2
	}
	if cfg.Platform == schedule.Cloud {
		// An emulator that is paused for seconds must not cost every lease.
		cfg.Lease, cfg.ClaimDelay = 6*time.Second, 2*time.Second
	}
	if cfg.Platform == schedule.Cloud && cfg.BreakFence {
		_, _ = fmt.Fprintln(stderr, "chaos: only the embedded platform's store can be broken")
		return 2
	}
	if *only != "" {
		for a := range strings.SplitSeq(*only, ",") {
			if !schedule.Action(a).Known(cfg.Platform) {
				_, _ = fmt.Fprintf(stderr, "chaos: there is no harm %q\n", a)
				return 2
			}
			cfg.Only = append(cfg.Only, schedule.Action(a))
		}
	}
	if *list {
		for _, s := range cfg.Schedule() {
			_, _ = fmt.Fprintln(stdout, s)
		}
		return 0
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	cfg.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	good := func(r *campaign.Result) bool { return r.Passed }
	if *mustFail {
		good = func(r *campaign.Result) bool {
			return r.Violations[check.Lost]+r.Violations[check.Doubled]+r.Violations[check.Altered] > 0
		}
	}
	ok, err := perform(ctx, &cfg, *real, good, stdout)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "chaos:", err)
	}
	if err != nil || !ok {
		return 1
	}
	return 0
}

// perform makes the campaign's directory and programs, runs it and prints its
// report. The directory stays when the result is not good.
func perform(ctx context.Context, cfg *campaign.Config, realCodex bool, good func(*campaign.Result) bool, stdout io.Writer) (ok bool, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return false, err
	}
	if cfg.Dir, err = os.MkdirTemp(cache, "codexgw-chaos-"); err != nil {
		return false, err
	}
	defer func() {
		if ok && err == nil {
			err = os.RemoveAll(cfg.Dir)
			return
		}
		_, _ = fmt.Fprintln(stdout, "the logs are in", filepath.Join(cfg.Dir, "logs"))
	}()
	if cfg.Program, err = os.Executable(); err != nil {
		return false, err
	}
	cfg.FakeCodex = filepath.Join(cfg.Dir, "fakecodex")
	build := exec.CommandContext(ctx, "go", "build", "-o", cfg.FakeCodex, "codexgateway.dev/test/fakecodex")
	if text, err := build.CombinedOutput(); err != nil {
		return false, fmt.Errorf("build the fake Codex: %w\n%s", err, text)
	}
	if realCodex {
		p, err := codexversion.Locate("")
		if err != nil {
			return false, fmt.Errorf("%w: run `make setup`", err)
		}
		cfg.RealCodex = p.Dir
	}
	res, err := campaign.Run(ctx, cfg)
	if err != nil {
		return false, err
	}
	return good(res), tell(res, stdout)
}

// tell prints the result for people and as one line of JSON.
func tell(res *campaign.Result, w io.Writer) error {
	verdict := "PASSED"
	if !res.Passed {
		verdict = "FAILED"
	}
	if _, err := fmt.Fprintf(w, "chaos campaign %s: seed %d, %s of harm, %s in all\n  %-24s %d %v\n  %-24s %d\n",
		verdict, res.Seed, res.Length, res.Took, "kills", res.Kills, res.Harms, "submit tries", res.Tries); err != nil {
		return err
	}
	for _, n := range res.Notes {
		if _, err := fmt.Fprintln(w, "  note:", n); err != nil {
			return err
		}
	}
	if err := res.Print(w); err != nil {
		return err
	}
	line, err := json.Marshal(res)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}
