package notifier_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/embedded/membus"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/services/notifier"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver counts how messages were answered on their way through a bus.
type receiver struct {
	*bus.Bus

	verdicts chan bus.Verdict
}

func (r *receiver) Receive(ctx context.Context, sub string, opt bus.ReceiveOptions, h bus.Handler) error {
	return r.Bus.Receive(ctx, sub, opt, func(ctx context.Context, d *bus.Delivery) bus.Outcome {
		out := h(ctx, d)
		r.verdicts <- out.Verdict
		return out
	})
}

func open(t *testing.T) *receiver {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	b := bus.New(membus.New(events.Topics, events.Subscriptions, membus.Options{Logger: log}), bus.Options{Logger: log})
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return &receiver{Bus: b, verdicts: make(chan bus.Verdict, 100)}
}

func ended(t *testing.T) events.Event {
	t.Helper()
	jobID := id.New(id.Job)
	ev, err := events.New(events.Head{ID: id.New(id.Event), Source: "/test", Subject: jobID, Time: time.Now()}, &events.JobCompleted{
		JobEnded: events.JobEnded{JobID: jobID, ConversationID: id.New(id.Conversation), Tenant: "t", Attempt: 1, LastSeq: 3, EndedAt: time.Now()},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func TestMessagesAreTakenAndCountedAndTheUnreadableRejected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t)
		var out bytes.Buffer
		s, err := notifier.New(notifier.Config{Concurrency: 4, CountEvery: time.Minute}, notifier.Deps{
			Bus: r, Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		for range 3 {
			if err := r.Publish(t.Context(), ended(t)); err != nil {
				t.Fatal(err)
			}
			if v := <-r.verdicts; v != bus.Ack {
				t.Errorf("verdict %v, want Ack", v)
			}
		}
		broken := ended(t)
		broken.DataEncoded = []byte(`{"job_id":7}`)
		if err := r.Publish(t.Context(), broken); err != nil {
			t.Fatal(err)
		}
		if v := <-r.verdicts; v != bus.Reject {
			t.Errorf("verdict %v of what cannot be read, want Reject", v)
		}
		<-time.After(61 * time.Second)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if text := out.String(); strings.Count(text, "messages taken") != 1 || !strings.Contains(text, "count=3") {
			t.Errorf("log:\n%s", text)
		}
	})
}

func TestABusThatIsClosedEndsTheService(t *testing.T) {
	t.Parallel()
	r := open(t)
	s, err := notifier.New(notifier.Config{Concurrency: 1, CountEvery: time.Minute}, notifier.Deps{Bus: r, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("no error")
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := notifier.New(notifier.Config{}, notifier.Deps{}); err == nil {
		t.Error("no dependencies were accepted")
	}
}
