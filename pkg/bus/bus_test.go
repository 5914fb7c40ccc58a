package bus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a driver that remembers what was published and hands out one delivery.
type script struct {
	topics  []string
	events  []events.Event
	publish func(ctx context.Context) error
	deliver *bus.Delivery
	outcome bus.Outcome
}

var _ bus.Driver = (*script)(nil)

func (s *script) Publish(ctx context.Context, topic string, ev events.Event) error {
	if s.publish != nil {
		if err := s.publish(ctx); err != nil {
			return err
		}
	}
	s.topics, s.events = append(s.topics, topic), append(s.events, ev)
	return nil
}

func (s *script) Receive(ctx context.Context, _ string, _ bus.ReceiveOptions, h bus.Handler) error {
	s.outcome = h(ctx, s.deliver)
	return nil
}

func (*script) Ping(context.Context) error { return bus.ErrUnavailable }
func (*script) Close() error               { return nil }

func jobEvent(t *testing.T) events.Event {
	t.Helper()
	ev, err := events.New(events.Head{ID: "evt_1", Source: "/codexgw/test", Subject: "job_1", Time: time.Unix(1, 0)}, events.JobSubmitted{JobID: "job_1"})
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// quietly is a logger for tests that provoke errors.
func quietly() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*events.Event)
		want   error
	}{
		"what is no CloudEvent":        {func(ev *events.Event) { ev.SetID("") }, bus.ErrInvalid},
		"an event without a context":   {func(ev *events.Event) { ev.Context = nil }, bus.ErrInvalid},
		"a bad extension name":         {func(ev *events.Event) { ev.SetExtension("no-dash", "x") }, bus.ErrInvalid},
		"a type without a topic":       {func(ev *events.Event) { ev.SetType("dev.codexgateway.nothing.v1") }, bus.ErrUnknownTopic},
		"more data than any bus takes": {func(ev *events.Event) { ev.DataEncoded = make([]byte, bus.MaxMessageBytes+1) }, bus.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &script{}
			ev := jobEvent(t)
			c.change(&ev)
			if err := bus.New(d, bus.Options{Logger: quietly()}).Publish(t.Context(), ev); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if len(d.events) != 0 {
				t.Error("the driver was asked")
			}
		})
	}
}

func TestPublishChoosesTheTopicOfTheType(t *testing.T) {
	t.Parallel()
	d := &script{}
	if err := bus.New(d, bus.Options{}).Publish(t.Context(), jobEvent(t)); err != nil {
		t.Fatal(err)
	}
	if len(d.topics) != 1 || d.topics[0] != events.TopicJobCommands {
		t.Errorf("topics %v", d.topics)
	}
}

func TestPublishGivesUpAtItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &script{publish: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		began := time.Now()
		err := bus.New(d, bus.Options{PublishTimeout: 3 * time.Second}).Publish(t.Context(), jobEvent(t))
		if !errors.Is(err, bus.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want ErrUnavailable and DeadlineExceeded", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %s, want 3s", took)
		}
	})
}

func TestTraceCrossesTheBusAsALink(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	d := &script{}
	b := bus.New(d, bus.Options{TracerProvider: tp})
	ctx, caller := tp.Tracer("test").Start(t.Context(), "caller")
	ev := jobEvent(t)
	if err := b.Publish(ctx, ev); err != nil {
		t.Fatal(err)
	}
	caller.End()
	if _, ok := ev.Extensions()[events.ExtTraceParent]; ok {
		t.Error("Publish changed the caller's event")
	}
	d.deliver = &bus.Delivery{Event: d.events[0], Attempt: 2, PublishedAt: time.Now()}
	if err := b.Receive(t.Context(), events.SubJobCommandsWorker, bus.ReceiveOptions{MaxOutstanding: 1},
		func(context.Context, *bus.Delivery) bus.Outcome { return bus.Outcome{Verdict: bus.Ack} }); err != nil {
		t.Fatal(err)
	}
	byName := map[string]sdktrace.ReadOnlySpan{}
	for _, s := range spans.Ended() {
		byName[s.Name()] = s
	}
	publish, deliver := byName["bus.publish"], byName["bus.deliver"]
	if publish == nil || deliver == nil {
		t.Fatalf("spans %v", byName)
	}
	if publish.Parent().SpanID() != caller.SpanContext().SpanID() {
		t.Error("publish is not a child of its caller")
	}
	if got := deliver.SpanContext().TraceID(); got == publish.SpanContext().TraceID() {
		t.Error("the delivery is in the publisher's trace, want a trace of its own")
	}
	links := deliver.Links()
	if len(links) != 1 || links[0].SpanContext.SpanID() != publish.SpanContext().SpanID() ||
		links[0].SpanContext.TraceID() != publish.SpanContext().TraceID() {
		t.Errorf("links %v, want the publish span", links)
	}
}

func TestHostileTraceParentIsIgnored(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	for _, parent := range []any{"", "rubbish", "00-0-0-0", strings.Repeat("0", 4096), int32(7)} {
		ev := jobEvent(t)
		ev.SetExtension(events.ExtTraceParent, parent)
		d := &script{deliver: &bus.Delivery{Event: ev, Attempt: 1}}
		b := bus.New(d, bus.Options{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))})
		if err := b.Receive(t.Context(), "s", bus.ReceiveOptions{MaxOutstanding: 1},
			func(context.Context, *bus.Delivery) bus.Outcome { return bus.Outcome{Verdict: bus.Ack} }); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range spans.Ended() {
		if len(s.Links()) != 0 {
			t.Errorf("links %v, want none", s.Links())
		}
	}
}

func TestReceiveOutcomes(t *testing.T) {
	t.Parallel()
	const sub = "t.s"
	withDLQ := []events.Subscription{{Name: sub, Topic: "t", DeadLetter: "t.s.dlq"}}
	lost, lose := context.WithCancelCause(context.Background())
	lose(bus.ErrLeaseLost)
	stopped, stop := context.WithCancel(context.Background())
	stop()
	reject := func(context.Context, *bus.Delivery) bus.Outcome {
		return bus.Outcome{Verdict: bus.Reject, Reason: "no\nsuch jöb"}
	}
	verdict := func(v bus.Verdict) bus.Handler {
		return func(context.Context, *bus.Delivery) bus.Outcome { return bus.Outcome{Verdict: v} }
	}
	for name, c := range map[string]struct {
		ctx     context.Context //nolint:containedctx // a case's context
		handler bus.Handler
		subs    []events.Subscription
		publish func(context.Context) error
		want    bus.Verdict
		label   string
		dead    bool
	}{
		"ack":                                     {handler: verdict(bus.Ack), want: bus.Ack, label: "ack"},
		"retry":                                   {handler: verdict(bus.Retry), want: bus.Retry, label: "retry"},
		"no verdict is a retry":                   {handler: verdict(0), want: bus.Retry, label: "none"},
		"an unknown verdict is a retry":           {handler: verdict(99), want: bus.Retry, label: "none"},
		"a panic is a retry":                      {handler: func(context.Context, *bus.Delivery) bus.Outcome { panic("secret text") }, want: bus.Retry, label: "retry"},
		"reject goes to the dead letter":          {handler: reject, subs: withDLQ, want: bus.Ack, label: "reject", dead: true},
		"reject while stopping still goes":        {ctx: stopped, handler: reject, subs: withDLQ, want: bus.Ack, label: "reject", dead: true},
		"reject without the lease is not ours":    {ctx: lost, handler: reject, subs: withDLQ, want: bus.Retry, label: "reject"},
		"reject without a dead letter is dropped": {handler: reject, want: bus.Ack, label: "reject"},
		"reject is retried when the dead letter is full": {
			handler: reject, subs: withDLQ, want: bus.Retry, label: "reject",
			publish: func(context.Context) error { return bus.ErrFull },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := c.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			var logs bytes.Buffer
			reader := metric.NewManualReader()
			d := &script{publish: c.publish, deliver: &bus.Delivery{Event: jobEvent(t), Attempt: 1, PublishedAt: time.Unix(100, 0)}}
			if c.publish == nil {
				d.publish = func(ctx context.Context) error { return ctx.Err() }
			}
			subs := c.subs
			if subs == nil {
				subs = []events.Subscription{{Name: sub, Topic: "t"}}
			}
			b := bus.New(d, bus.Options{
				Subscriptions: subs, Logger: slog.New(slog.NewJSONHandler(&logs, nil)),
				Now:           func() time.Time { return time.Unix(103, 0) },
				MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
			})
			if err := b.Receive(ctx, sub, bus.ReceiveOptions{MaxOutstanding: 1}, c.handler); err != nil {
				t.Fatal(err)
			}
			if d.outcome.Verdict != c.want {
				t.Errorf("verdict %d, want %d", d.outcome.Verdict, c.want)
			}
			if got := len(d.events) == 1; got != c.dead {
				t.Errorf("dead letter published: %t, want %t", got, c.dead)
			}
			if c.dead {
				ext := d.events[0].Extensions()
				if d.topics[0] != "t.s.dlq" || ext[bus.ExtDLQReason] != "no?such j?b" || ext[bus.ExtDLQSubscription] != sub {
					t.Errorf("dead letter on %s with %v", d.topics[0], ext)
				}
				if d.events[0].Validate() != nil {
					t.Errorf("dead letter is no CloudEvent: %v", d.events[0].Validate())
				}
			}
			if strings.Contains(logs.String(), "secret text") {
				t.Error("a panic value was logged")
			}
			label, age := metrics(t, reader)
			if label != c.label {
				t.Errorf("counted as %q, want %q", label, c.label)
			}
			if age != 3 {
				t.Errorf("age %v s, want 3", age)
			}
		})
	}
}

// metrics returns the outcome of the one delivery counted and its age.
func metrics(t *testing.T, reader *metric.ManualReader) (outcome string, age float64) {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				if m.Name == "codexgw_bus_deliveries" {
					v, _ := data.DataPoints[0].Attributes.Value("outcome")
					outcome = v.AsString()
				}
			case metricdata.Histogram[float64]:
				if m.Name == "codexgw_bus_age" {
					age = data.DataPoints[0].Sum
				}
			}
		}
	}
	return outcome, age
}

func TestReceiveRefusesNoSlots(t *testing.T) {
	t.Parallel()
	err := bus.New(&script{}, bus.Options{}).Receive(t.Context(), "s", bus.ReceiveOptions{}, nil)
	if !errors.Is(err, bus.ErrInvalid) {
		t.Errorf("error %v, want ErrInvalid", err)
	}
}

func TestPingKeepsTheDriversError(t *testing.T) {
	t.Parallel()
	if err := bus.New(&script{}, bus.Options{}).Ping(t.Context()); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
}

func TestEveryDeadLetterCanBeRead(t *testing.T) {
	t.Parallel()
	topics, subs := bus.WithDeadLetters(events.Topics, events.Subscriptions)
	names := map[string]bool{}
	for _, topic := range topics {
		if names[topic.Name] {
			t.Errorf("topic %s declared twice", topic.Name)
		}
		names[topic.Name] = true
	}
	readers := map[string]bool{}
	for _, s := range subs {
		if !names[s.Topic] {
			t.Errorf("subscription %s reads the undeclared topic %s", s.Name, s.Topic)
		}
		readers[s.Topic] = true
	}
	for _, s := range events.Subscriptions {
		if s.DeadLetter != "" && !readers[s.DeadLetter] {
			t.Errorf("nobody can read %s", s.DeadLetter)
		}
	}
}

func FuzzDeadLetterReason(f *testing.F) {
	for _, s := range []string{"", "plain", "\x00\xff", strings.Repeat("é", 1000), "a\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, reason string) {
		ev := jobEvent(t)
		dead := bus.DeadLetter(&ev, "t.s", reason)
		if err := dead.Validate(); err != nil {
			t.Errorf("no CloudEvent: %v", err)
		}
		got, _ := dead.Extensions()[bus.ExtDLQReason].(string)
		if len(got) > 512 || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("reason %q does not fit every bus", got)
		}
		if _, changed := ev.Extensions()[bus.ExtDLQSubscription]; changed {
			t.Error("the original was changed")
		}
	})
}
