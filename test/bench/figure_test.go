package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestQuantilesAreObservedValues(t *testing.T) {
	t.Parallel()
	var hundred times
	for i := 100; i >= 1; i-- {
		hundred = append(hundred, time.Duration(i))
	}
	for name, c := range map[string]struct {
		of   times
		q    float64
		want time.Duration
	}{
		"none":             {nil, 0.5, 0},
		"one":              {times{7}, 0.99, 7},
		"smallest":         {hundred, 0, 1},
		"median":           {hundred, 0.5, 50},
		"99th of hundred":  {hundred, 0.99, 99},
		"largest":          {hundred, 1, 100},
		"99th of too few":  {times{3, 1, 2}, 0.99, 3},
		"order is no help": {times{9, 1, 5}, 0.5, 5},
	} {
		if got := c.of.at(c.q); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := (times{4, 1, 2, 100}).median(); got != 3 {
		t.Errorf("median of an even number: %d, want 3", got)
	}
}

func TestATargetIsAnUpperBound(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]bool{0.59: true, 0.6: true, 0.601: false} {
		if f := atMost(0.6, "x", value, "ratio", 1, nil); *f.OK != want || f.Target != "<= 0.6" {
			t.Errorf("%g: ok %v, target %q", value, *f.OK, f.Target)
		}
	}
}

func TestRecordReplacesTheLastRunOnly(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("above\n"+recordBegin+"old\n"+recordEnd+"below\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := report{Machine: machine{CPUs: 2}, Figures: []figure{
		atMost(5, "submit_ack_p50", 7, "ms", 10, map[string]any{"load_before": 0.5}),
	}}
	for range 2 { // a recorded page can be recorded again
		if err := r.record(page); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	got := string(raw)
	row := "| `submit_ack_p50` | 7 ms | <= 5 | no | 10 | `{\"load_before\":0.5}` |\n"
	if !strings.HasPrefix(got, "above\n"+recordBegin) || !strings.HasSuffix(got, recordEnd+"below\n") ||
		strings.Count(got, row) != 1 || strings.Contains(got, "\nold\n") {
		t.Errorf("page:\n%s", got)
	}
	if err := os.WriteFile(page, []byte("no place\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.record(page); err == nil {
		t.Error("a page without a place was recorded")
	}
}
