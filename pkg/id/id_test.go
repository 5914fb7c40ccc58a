package id_test

import (
	"regexp"
	"strings"
	"testing"

	"codexgateway.dev/pkg/id"
)

var kinds = []id.Kind{id.Job, id.Conversation, id.File, id.Subscription, id.Event, id.Request, id.Worker, id.Claim, id.Turn}

func TestNew(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[a-z]+_[0-9a-hjkmnp-tv-z]{26}$`)
	for _, kind := range kinds {
		s := id.New(kind)
		if !form.MatchString(s) || !strings.HasPrefix(s, string(kind)+"_") {
			t.Errorf("%s id %q has the wrong form", kind, s)
		}
		for _, other := range kinds {
			if got := id.Is(other, s); got != (other == kind) {
				t.Errorf("Is(%s, %q) = %v", other, s, got)
			}
		}
	}
}

// TestNewIsUniform counts every character at every place: a skewed alphabet or
// a place that is not random would make ids guessable.
func TestNewIsUniform(t *testing.T) {
	t.Parallel()
	const n = 32_000 // 1000 expected of each; 6 standard deviations are 190
	seen := make(map[string]bool, n)
	var count [26][256]int
	for range n {
		_, rest, _ := strings.Cut(id.New(id.Job), "_")
		if seen[rest] {
			t.Fatalf("%q came twice", rest)
		}
		seen[rest] = true
		for i := range len(rest) {
			count[i][rest[i]]++
		}
	}
	for i, chars := range count {
		for c, got := range chars {
			if got != 0 && (got < 800 || got > 1200) {
				t.Errorf("place %d has %q %d times, want about 1000", i, rune(c), got)
			}
		}
	}
}

func TestIsRefuses(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("0", 26)
	if !id.Is(id.Job, "job_"+good) {
		t.Fatal("refuses a good id")
	}
	for _, s := range []string{
		"", "job_", "job_" + good + "0", "job_" + good[1:], "JOB_" + good, "job-" + good, "conv_" + good, " job_" + good,
		"job_" + good[1:] + "i", "job_" + good[1:] + "A", "job_" + good[1:] + "/", "job_" + good[1:] + "\x00", "job_" + good[2:] + "é",
	} {
		if id.Is(id.Job, s) {
			t.Errorf("accepts %q", s)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		id.New(id.Job)
	}
}
