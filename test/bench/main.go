package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"codexgateway.dev/services/worker/codexversion"
)

// runLimit ends a run that hangs; one that does not takes a third of it.
const runLimit = 15 * time.Minute

// prompt is the shortest job there is: one request to the model, one message.
const prompt = "say hello"

// bench is what the measurements have in common.
type bench struct {
	// gateway is the program that is measured.
	gateway string
	codex   codexversion.Package
	// dir holds everything that is written; it is not under the temporary
	// directory, where Codex and the gateway refuse to work.
	dir string
}

// measurement takes some figures in one go.
type measurement struct {
	name string
	take func(context.Context, *bench) ([]figure, error)
}

// measurements are all there are, what a busy machine disturbs most first.
func measurements() []measurement {
	return []measurement{
		{"start", measureStart},
		{"services", measureServices},
		{"idle", measureIdle},
		{"sockets", measureIdleSockets},
		{"ping", measurePing},
		{"door", measureDoor},
		{"submit", measureSubmit},
		{"rate", measureRate},
		{"seen", measureSeen},
		{"append", measureAppend},
		{"curve", measureCurve},
		{"resume", measureResume},
		{"fanout", measureFanout},
		{"list", measureList},
		{"foreign", measureForeign},
		{"growth", measureGrowth},
		{"recovery", measureRecovery},
		{"hello", measureHello},
		{"cloud", measureCloud},
	}
}

// names lists them.
func names() string {
	every := measurements()
	all := make([]string, 0, len(every))
	for _, m := range every {
		all = append(all, m.name)
	}
	return strings.Join(all, ", ")
}

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	choice := flags.String("figure", "", "measure only what matches this regular expression: "+names())
	record := flags.String("record", "", "also write the figures into this page, such as docs/benchmarks.md")
	gateway := flags.String("gateway", filepath.Join("bin", "codexgw"), "the gateway's program")
	edgeDir := flags.String("edge", "", "be the measured edge in this directory (the bench starts itself so)")
	bareDir := flags.String("bare", "", "be the bare handler that the edge is compared with, in this directory")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *edgeDir != "":
		err = serveEdge(ctx, *edgeDir, os.Stdin, stdout)
	case *bareDir != "":
		err = serveBare(ctx, *bareDir, stdout)
	default:
		err = measure(ctx, *choice, *gateway, *record, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// measure takes the chosen figures and prints each as soon as it is known. What
// could not be measured is in the error, the rest is measured all the same.
func measure(ctx context.Context, choice, gateway, page string, stdout, stderr io.Writer) (err error) {
	wanted, err := regexp.Compile(choice)
	if err != nil {
		return fmt.Errorf("-figure: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("not finished within %s", runLimit))
	defer cancel()
	b, clean, err := prepare(gateway)
	defer func() { err = errors.Join(err, clean()) }()
	if err != nil {
		return err
	}
	out := report{Machine: describe(ctx)}
	if err := printLine(stdout, struct {
		Machine machine `json:"machine"`
	}{out.Machine}); err != nil {
		return err
	}
	var problems []error
	for _, m := range measurements() {
		if !wanted.MatchString(m.name) {
			continue
		}
		fmt.Fprintf(stderr, "bench: %s\n", m.name)
		load := loadAverage()
		figures, err := m.take(ctx, b)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", m.name, err))
			continue
		}
		for _, f := range figures {
			f.Detail["load_before"] = load
			f.Detail["load_after"] = loadAverage()
			if err := printLine(stdout, f); err != nil {
				return err
			}
			out.Figures = append(out.Figures, f)
		}
	}
	if page != "" && len(problems) == 0 {
		problems = append(problems, out.record(page))
	}
	return errors.Join(problems...)
}

// prepare finds what is measured and makes a directory; clean is never nil.
func prepare(gateway string) (b *bench, clean func() error, err error) {
	clean = func() error { return nil }
	b = &bench{}
	if b.gateway, err = filepath.Abs(gateway); err != nil {
		return nil, clean, err
	}
	if _, err := os.Stat(b.gateway); err != nil {
		return nil, clean, fmt.Errorf("%w: run `make build`", err)
	}
	if b.codex, err = codexversion.Locate(""); err != nil {
		return nil, clean, fmt.Errorf("%w: run `make setup`", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, clean, err
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, clean, err
	}
	if b.dir, err = os.MkdirTemp(cache, "codexgw-bench-"); err != nil {
		return nil, clean, err
	}
	return b, func() error { return os.RemoveAll(b.dir) }, nil
}

// printLine writes one value as one line.
func printLine(w io.Writer, v any) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(line.Bytes())
	return err
}
