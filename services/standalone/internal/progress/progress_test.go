package progress_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/services/standalone/internal/progress"
	"codexgateway.dev/services/standalone/internal/termsafe"
)

var update = flag.Bool("update", false, "write the golden files")

// logs are the recorded logs: made of real Codex transcripts, except hostile
// and retried.
var logs = []string{"edit", "command", "retry", "failed", "hostile", "retried"}

func events(t *testing.T, name string) []apiv1.Event {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var out []apiv1.Event
	for line := range bytes.Lines(raw) {
		var e apiv1.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func show(t *testing.T, v *progress.View, list []apiv1.Event) {
	t.Helper()
	for _, e := range list {
		if err := v.Event(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestPlainLines(t *testing.T) {
	t.Parallel()
	for _, name := range logs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			show(t, progress.New(progress.Options{Out: &out, Mode: progress.Plain}), events(t, name))
			for _, r := range out.String() {
				if unicode.IsControl(r) && r != '\n' {
					t.Fatalf("control character %U", r)
				}
			}
			golden(t, name+".plain.golden", out.String())
		})
	}
}

func TestLiveLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for _, name := range logs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const width = 50
			screen := newTerminal(t, width)
			tick := make(chan time.Time)
			v := progress.New(progress.Options{
				Out: screen, Mode: progress.Live, Color: true, Width: func() int { return width }, Tick: tick,
				Now: func() time.Time { return time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC) },
			})
			for _, e := range events(t, name) {
				tick <- time.Time{}
				if err := v.Event(e); err != nil {
					t.Fatal(err)
				}
				tick <- time.Time{}
			}
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(screen.String(), "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏") {
				t.Errorf("the spinner stayed:\n%s", screen)
			}
			if screen.col != 0 {
				t.Errorf("the cursor is at column %d", screen.col)
			}
			golden(t, name+".live.golden", screen.String())
		})
	}
}

func TestLiveShowsWhatGoesOn(t *testing.T) {
	t.Parallel()
	screen := newTerminal(t, 30)
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	tick := make(chan time.Time)
	v := progress.New(progress.Options{
		Out: screen, Mode: progress.Live, Width: func() int { return 30 }, Tick: tick,
		Now: func() time.Time { return now },
	})
	list := events(t, "command")
	var seen []string
	for _, e := range list {
		if err := v.Event(e); err != nil {
			t.Fatal(err)
		}
		if e.Type != "codex" || bytes.Contains(e.Data, []byte("outputDelta")) {
			line := screen.bottom()
			if w := termsafe.Width(line); w > 29 {
				t.Errorf("the status takes %d of 30 columns: %q", w, line)
			}
			seen = append(seen, strings.TrimRight(line, " "))
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"⠋ waiting for a worker", "⠋ starting Codex",
		"⠋ running: line 2", "⠋ running: line 3", "⠋ running: err", "",
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNoColorMeansNoEscapes(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	show(t, progress.New(progress.Options{Out: &out, Mode: progress.Live, Tick: make(chan time.Time)}), events(t, "edit"))
	if bytes.ContainsRune(out.Bytes(), '\x1b') {
		t.Errorf("an escape character: %q", out.String())
	}
}

func TestJSONLinesAreTheEvents(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile(filepath.Join("testdata", "edit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	show(t, progress.New(progress.Options{Out: &out, Mode: progress.JSON}), events(t, "edit"))
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnInterruptedViewEndsItsLine(t *testing.T) {
	t.Parallel()
	screen := newTerminal(t, 40)
	v := progress.New(progress.Options{Out: screen, Mode: progress.Live, Tick: make(chan time.Time)})
	delta := apiv1.Event{Type: "codex", Data: json.RawMessage(`{"method":"item/agentMessage/delta","params":{"itemId":"m","delta":"half"}}`)}
	for _, e := range append(events(t, "edit")[:2], delta) {
		if err := v.Event(e); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if screen.col != 0 || !strings.HasSuffix(screen.String(), "half\n") {
		t.Errorf("column %d of\n%s", screen.col, screen)
	}
	if err := v.Event(delta); err == nil {
		t.Error("a closed view takes events")
	}
}

func TestTheWritersErrorEndsTheView(t *testing.T) {
	t.Parallel()
	gone := errors.New("broken pipe")
	for _, mode := range []progress.Mode{progress.Plain, progress.Live, progress.JSON} {
		v := progress.New(progress.Options{Out: brokenPipe{gone}, Mode: mode, Tick: make(chan time.Time)})
		if err := v.Event(events(t, "edit")[0]); !errors.Is(err, gone) {
			t.Errorf("mode %d: Event = %v", mode, err)
		}
		_ = v.Close()
	}
}

type brokenPipe struct{ err error }

func (w brokenPipe) Write([]byte) (int, error) { return 0, w.err }

func FuzzEvent(f *testing.F) {
	f.Add("codex", []byte(`{"method":"item/completed","params":{"item":{"type":"commandExecution","aggregatedOutput":"\u001b[2J"}}}`))
	f.Add("job.completed", []byte(`{"content":"x","usage":{"total_tokens":-5}}`))
	f.Add("codex", []byte(`{"method":"item/agentMessage/delta","params":{"itemId":"a","delta":"\u001b"}}`))
	f.Fuzz(func(t *testing.T, eventType string, data []byte) {
		screen := newTerminal(t, 20)
		v := progress.New(progress.Options{Out: screen, Mode: progress.Live, Color: true, Width: func() int { return 20 }, Tick: make(chan time.Time)})
		for seq := range int64(2) {
			if err := v.Event(apiv1.Event{JobID: "job_\x1b[2J", Seq: seq, Type: eventType, Data: data}); err != nil {
				t.Fatal(err)
			}
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
