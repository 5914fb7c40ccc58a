package pubsubbus_test

import (
	"crypto/rand"
	"flag"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/bus/bustest"
	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/gcp/pubsubbus"
)

var cloud gcptest.Local

// The cases spend their time waiting for deadlines of 10 s and more: more of
// them at once than there are processors.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	os.Exit(cloud.Main(m, func() error {
		// OpenCensus, which the client library links, starts one for the process.
		return goleak.Find(gcptest.Leaks()...)
	}))
}

// features of Pub/Sub as its emulator has them; baseline_test.go says why what
// is missing is missing. Attempts are counted only on subscriptions with a dead
// letter policy, on Pub/Sub too.
func features() bustest.Features {
	return bustest.Features{
		MaxOutstanding: true,
		AckDeadline:    10 * time.Second, MinBackoff: time.Second, MaxBackoff: 4 * time.Second,
		Wait: 2 * time.Minute, Quiet: 2 * time.Second,
	}
}

// project is a new one: the emulator takes any.
func project() string { return "test-" + strings.ToLower(rand.Text()[:16]) }

func testLogger(tb testing.TB) *slog.Logger {
	tb.Helper()
	return slog.New(slog.NewTextHandler(writerTo{tb}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type writerTo struct{ t testing.TB }

func (w writerTo) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// openDriver opens a driver of a project and closes it with the test.
func openDriver(tb testing.TB, cfg pubsubbus.Config) *pubsubbus.Driver {
	tb.Helper()
	if cfg.Emulator == "" {
		cfg.Emulator = cloud.PubSub(tb)
	}
	if cfg.Logger == nil {
		cfg.Logger = testLogger(tb)
	}
	if cfg.Project == "" {
		cfg.Project = project()
	}
	d, err := pubsubbus.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return d
}

func open(t *testing.T, topics []events.Topic, subs []events.Subscription) bus.Driver {
	t.Helper()
	d := openDriver(t, pubsubbus.Config{Instance: "suite", Topics: topics, Subscriptions: subs})
	bootstrap(t, d)
	return d
}

func TestConformance(t *testing.T) {
	t.Parallel()
	bustest.Run(t, open, features())
}
