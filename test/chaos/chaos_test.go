package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/test/chaos/check"
	"codexgateway.dev/test/chaos/internal/campaign"
	"codexgateway.dev/test/chaos/internal/node"
)

// TestMain lets the test's own program be a node of its campaign.
func TestMain(m *testing.M) {
	if node.Is(os.Args) {
		os.Exit(node.Run(context.Background(), os.Args[1:], os.Stderr))
	}
	os.Exit(m.Run())
}

// campaignLimit ends a campaign that hangs.
const campaignLimit = 5 * time.Minute

func TestAShortCampaignFindsNothing(t *testing.T) {
	t.Parallel()
	cfg := standard()
	cfg.Seed, cfg.Length, cfg.Gap, cfg.Settle = 7, 12*time.Second, time.Second, 3*time.Minute
	cfg.Conversations, cfg.Watchers = 3, 5
	// Clocks that are off slow the repairs down; the long campaign has them.
	cfg.Skew = 0
	res := campaignOf(t, &cfg)
	if !res.Passed {
		t.Errorf("%v\n%v\n%v", res.Violations, res.Findings, res.Notes)
	}
	// It must have looked at something.
	if res.JobsAccepted == 0 || res.EventsDelivered == 0 || res.Kills == 0 || res.Watchers != res.JobsAccepted*cfg.Watchers {
		t.Errorf("%d jobs, %d events delivered to %d watchers, %d kills", res.JobsAccepted, res.EventsDelivered, res.Watchers, res.Kills)
	}
}

// campaignOf runs a campaign in a directory that stays when the test failed.
func campaignOf(t *testing.T, cfg *campaign.Config) *campaign.Result {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), campaignLimit, errors.New("the campaign did not end"))
	defer cancel()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	if cfg.Dir, err = os.MkdirTemp(cache, "codexgw-chaos-"); err != nil { //nolint:usetesting // a worker refuses the temporary directory
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the logs are in %s", filepath.Join(cfg.Dir, "logs"))
			return
		}
		if err := os.RemoveAll(cfg.Dir); err != nil {
			t.Error(err)
		}
	})
	if cfg.Program, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	cfg.FakeCodex = filepath.Join(cfg.Dir, "fakecodex")
	build := exec.CommandContext(ctx, "go", "build", "-o", cfg.FakeCodex, "codexgateway.dev/test/fakecodex")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	res, err := campaign.Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestTheScheduleIsPrintedAndTheSameEachTime(t *testing.T) {
	t.Parallel()
	list := func(seed string) string {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), []string{"-seed", seed, "-length", "1m", "-list"}, &out, &errOut); code != 0 {
			t.Fatalf("exit code %d: %s", code, errOut.String())
		}
		return out.String()
	}
	if first := list("7"); first != list("7") || first == list("8") || strings.Count(first, "\n") < 20 {
		t.Errorf("the schedule of seed 7:\n%s", first)
	}
}

func TestWrongArgumentsAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-seed", "x"}, {"-platform", "nowhere"}, {"-platform", "gcp", "-break-fence"}, {"-unknown"}, {"-only", "kill_nothing"}} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), args, &out, &errOut); code != 2 || errOut.Len() == 0 {
			t.Errorf("%v: exit code %d, %q", args, code, errOut.String())
		}
	}
}

func TestTheReportIsOneLineOfJSONToo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := tell(&campaign.Result{Seed: 7, Kills: 3, Notes: []string{"a note"}, Report: check.Run(&check.Input{})}, &out); err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		found++
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"seed", "kills", "passed", "violations", "events_delivered"} {
			if _, ok := v[name]; !ok {
				t.Errorf("the line has no %s", name)
			}
		}
	}
	if found != 1 || !strings.Contains(out.String(), "FAILED: seed 7") || !strings.Contains(out.String(), fmt.Sprintf("%-24s 0", "lost")) {
		t.Errorf("report:\n%s", out.String())
	}
}
