package membus_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/bus/bustest"
	"codexgateway.dev/pkg/embedded/membus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// features of the embedded bus: all of them. The times are fake in a bubble,
// so they are those of production.
func features() bustest.Features {
	return bustest.Features{
		Attempts: true, Backoff: true, MaxOutstanding: true,
		AckDeadline: 30 * time.Second, MinBackoff: time.Second, MaxBackoff: 30 * time.Second,
		Wait: time.Minute, Quiet: time.Hour,
	}
}

func open(t *testing.T, topics []events.Topic, subs []events.Subscription) bus.Driver {
	t.Helper()
	b := membus.New(topics, subs, membus.Options{})
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

func TestConformanceInFakeTime(t *testing.T) {
	t.Parallel()
	f := features()
	f.Synctest = true
	bustest.Run(t, open, f)
}

// Real time finds the races that a bubble's scheduling hides.
func TestConformanceInRealTime(t *testing.T) {
	t.Parallel()
	f := features()
	// The deadline is long for a handler that does nothing, on a busy machine too.
	f.AckDeadline, f.MinBackoff, f.MaxBackoff = 2*time.Second, 5*time.Millisecond, 40*time.Millisecond
	f.Wait, f.Quiet = time.Minute, 20*time.Millisecond
	bustest.Run(t, open, f)
}
