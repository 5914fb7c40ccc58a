package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/boot"
	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/gcp/meter"
	"codexgateway.dev/services/worker/codexversion"
)

// testBench is a bench on this machine, or the test is skipped.
func testBench(t *testing.T) *bench {
	t.Helper()
	dir := os.Getenv("CODEXGW_TEST_CODEX")
	codex, err := codexversion.Locate(dir)
	if err != nil {
		t.Skipf("NOT RUN, needs the Codex CLI (make setup): %v", err)
	}
	b, err := newBench(t.Context(), codex.Dir)
	if errors.Is(err, gcptest.ErrNoEmulators) {
		t.Skipf("NOT RUN, needs the emulators: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Bounds of a job of 30 s.
const (
	maxReads   = 24
	maxWrites  = 46
	maxBytes   = 55_000
	maxUploads = 1
	// maxDeletes is the tenant's slot.
	maxDeletes = 1
)

// The bounds are somewhat above what is counted on an idle machine. A slow one
// writes less, because more goes into one batch, and reads more, because the edge
// compares a stream that is silent for long with the log.
func TestAJobOf30SecondsCostsWhatItShould(t *testing.T) {
	t.Parallel()
	b := testBench(t)
	s, err := measureSweeps(t.Context(), b.cloud)
	if err != nil {
		t.Fatal(err)
	}
	p := profiles()[0]
	p.faster = 20
	j, err := measureJobs(t.Context(), b, p, 1)
	if err != nil {
		t.Fatal(err)
	}
	j.bear(s)
	t.Logf("%+v", *j)
	for name, n := range map[string]struct{ got, most int64 }{
		"reads":                       {j.Total.DocReads, maxReads},
		"writes":                      {j.Total.DocWrites, maxWrites},
		"deletes":                     {j.Total.DocDeletes, maxDeletes},
		"bytes published":             {j.Total.PublishBytes, maxBytes},
		"bytes delivered":             {j.Total.DeliverBytes, maxBytes},
		"uploads":                     {j.Total.BlobWrites, maxUploads},
		"reads of blobs":              {j.Total.BlobReads, 0},
		"reads of secrets":            {j.Total.SecretReads, 0},
		"reads of a sweep, one job":   {s.One, 4},
		"reads of a sweep, ten jobs":  {s.Ten, 13},
		"writes to remove a log":      {j.Removal.DocWrites, 1},
		"reads to remove a log":       {j.Removal.DocReads, maxWrites},
		"operations to remove a blob": {j.Removal.BlobReads + j.Removal.BlobWrites, 2},
	} {
		if n.got > n.most {
			t.Errorf("%s: %d, want %d at most", name, n.got, n.most)
		}
	}
	// A meter that sees nothing would find everything cheap.
	if j.Total.DocWrites < 20 || j.Total.Published < 10 || j.Events < 25 || j.Total.DeliverBytes < 10_000 {
		t.Errorf("not everything is counted: %d events, %+v", j.Events, j.Total)
	}
	// One batch more or less is $0.001.
	if j.DollarsTen > targetJobs+0.002 {
		t.Errorf("1,000 jobs cost $%.4f, want $%.2f at most", j.DollarsTen, targetJobs)
	}
}

func TestAnIdleGatewayCostsNothing(t *testing.T) {
	t.Parallel()
	b := testBench(t)
	s, err := measureSweeps(t.Context(), b.cloud)
	if err != nil {
		t.Fatal(err)
	}
	i, err := measureIdle(t.Context(), b, s)
	if err != nil {
		t.Fatal(err)
	}
	if i.Other != (meter.Counts{}) {
		t.Errorf("besides the reconciler's reads: %+v", i.Other)
	}
	for way, r := range map[string]reading{"loop": i.Loop, "tick": i.Tick} {
		if r.Free > 0 || r.Reads == 0 {
			t.Errorf("%s: %.0f reads a month, $%.2f", way, r.Reads, r.Free)
		}
	}
}

func TestTheMonthOfAMillionRequestsIsBelowItsTarget(t *testing.T) {
	t.Parallel()
	if list, free := month1M.lines(); list > targetBill || free > list {
		t.Errorf("$%.2f at list prices, $%.2f with free tiers", list, free)
	}
}

func TestTheHeartbeatIsThatOfTheDefaults(t *testing.T) {
	t.Parallel()
	if lease := boot.Defaults()["CODEXGW_LEASE"]; lease != "90s" || beatEvery != 30*time.Second {
		t.Errorf("a lease of %s, a heartbeat every %s", lease, beatEvery)
	}
}

func TestTheScriptHasWhatTheProfileSays(t *testing.T) {
	t.Parallel()
	for _, p := range profiles() {
		if got := [2]int{strings.Count(p.prompt(), "mock: shell"), strings.Count(p.prompt(), "mock: deltas")}; got != [2]int{p.Commands, p.Messages} {
			t.Errorf("%s: commands and messages %v", p.Name, got)
		}
	}
}
