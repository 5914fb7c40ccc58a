package membus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/embedded/membus"
)

const (
	topic    = "t"
	first    = "t.first"
	second   = "t.second"
	instance = "t.instance"
)

var (
	topics = []events.Topic{{Name: topic}}
	subs   = []events.Subscription{
		{Name: first, Topic: topic, Mode: events.Shared, MinBackoff: time.Millisecond, DeadLetter: "t.first.dlq", MaxDeliveries: 1},
		{Name: instance, Topic: topic, Mode: events.PerInstance},
	}
)

func event(id string, size int) events.Event {
	ev, err := events.New(events.Head{ID: id, Source: "/test"}, events.KeyRevoked{})
	if err != nil {
		panic(err)
	}
	ev.DataEncoded = make([]byte, size)
	return ev
}

// collect receives until n messages came and returns their ids in order.
func collect(t *testing.T, b *membus.Bus, subscription string, n int) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var ids []string
	err := b.Receive(ctx, subscription, bus.ReceiveOptions{MaxOutstanding: 1}, func(_ context.Context, d *bus.Delivery) bus.Outcome {
		if ids = append(ids, d.Event.ID()); len(ids) == n {
			cancel()
		}
		return bus.Outcome{Verdict: bus.Ack}
	})
	if err != nil {
		t.Errorf("receive: %v", err)
	}
	return ids
}

func TestFullSharedSubscriptionRefusesAndTheOthersStillHear(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opt  membus.Options
		size int
	}{
		"by messages": {membus.Options{MaxMessages: 2}, 1},
		"by bytes":    {membus.Options{MaxBytes: 10}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := events.Subscription{Name: second, Topic: topic, Mode: events.Shared}
			b := membus.New(topics, append([]events.Subscription{other}, subs...), c.opt)
			defer b.Close()
			publish := func(id string) error { return b.Publish(t.Context(), topic, event(id, c.size)) }
			for _, id := range []string{"1", "2"} {
				if err := publish(id); err != nil {
					t.Fatalf("publish %s: %v", id, err)
				}
			}
			if got := collect(t, b, second, 2); !slices.Equal(got, []string{"1", "2"}) {
				t.Fatalf("second heard %v", got)
			}
			// first is full now, second is not.
			if err := publish("3"); !errors.Is(err, bus.ErrFull) {
				t.Fatalf("publish 3: error %v, want ErrFull", err)
			}
			if got := collect(t, b, second, 1); !slices.Equal(got, []string{"3"}) {
				t.Errorf("second heard %v, want 3", got)
			}
			if got := collect(t, b, first, 2); !slices.Equal(got, []string{"1", "2"}) {
				t.Errorf("first heard %v, want 1 2", got)
			}
			if err := publish("4"); err != nil {
				t.Errorf("publish 4 after room was made: %v", err)
			}
		})
	}
}

func TestFullInstanceDropsTheNewestAndCounts(t *testing.T) {
	t.Parallel()
	reader := metric.NewManualReader()
	b := membus.New(topics, subs, membus.Options{InstanceMessages: 3, MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ready, began, release := make(chan struct{}), make(chan struct{}, 10), make(chan struct{})
	heard := make(chan string, 10)
	done := make(chan error, 1)
	go func() {
		done <- b.Receive(ctx, instance, bus.ReceiveOptions{MaxOutstanding: 1, Ready: ready}, func(_ context.Context, d *bus.Delivery) bus.Outcome {
			began <- struct{}{}
			<-release
			heard <- d.Event.ID()
			return bus.Outcome{Verdict: bus.Ack}
		})
	}()
	<-ready
	for i := range 5 { // one handled, two waiting, two dropped
		if err := b.Publish(t.Context(), topic, event(fmt.Sprint(i), 1)); err != nil {
			t.Fatalf("publish %d: %v", i, err)
		}
	}
	<-began
	close(release)
	for i := range 3 {
		if got := <-heard; got != fmt.Sprint(i) {
			t.Errorf("heard %s, want %d", got, i)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("receive: %v", err)
	}
	if len(heard) != 0 {
		t.Errorf("heard more: %s", <-heard)
	}
	for range 10 { // the instance is gone: nothing fills up for it
		if err := b.Publish(t.Context(), topic, event("late", 1)); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	if got := dropped(t, reader, instance); got != 2 {
		t.Errorf("counted %d dropped, want 2", got)
	}
}

func TestFullDeadLetterDropsTheOldest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		b := membus.New(topics, subs, membus.Options{InstanceMessages: 2, MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
		defer b.Close()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- b.Receive(ctx, first, bus.ReceiveOptions{MaxOutstanding: 1}, func(context.Context, *bus.Delivery) bus.Outcome {
				return bus.Outcome{Verdict: bus.Retry} // MaxDeliveries is 1
			})
		}()
		for i := range 4 {
			if err := b.Publish(t.Context(), topic, event(fmt.Sprint(i), 1)); err != nil {
				t.Fatalf("publish: %v", err)
			}
		}
		synctest.Wait()
		if got := collect(t, b, "t.first.dlq", 2); !slices.Equal(got, []string{"2", "3"}) {
			t.Errorf("dead letter holds %v, want 2 3", got)
		}
		if got := dropped(t, reader, "t.first.dlq"); got != 2 {
			t.Errorf("counted %d dropped, want 2", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("receive: %v", err)
		}
	})
}

// dropped reads the drop counter of a subscription.
func dropped(t *testing.T, reader *metric.ManualReader, subscription string) int64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatalf("collect: %v", err)
	}
	var n int64
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok || m.Name != "codexgw_bus_dropped" {
				continue
			}
			for _, p := range sum.DataPoints {
				if v, ok := p.Attributes.Value("subscription"); ok && v.AsString() == subscription {
					n += p.Value
				}
			}
		}
	}
	return n
}

// A message may be given to a receiver in the instant that it ends. It never
// reached a handler, so it goes to the next at once and as its first attempt.
func TestMessageOfAReceiverThatJustEndedWasNeverDelivered(t *testing.T) {
	t.Parallel()
	b := membus.New(topics, []events.Subscription{{Name: first, Topic: topic, Mode: events.Shared, MinBackoff: time.Hour}}, membus.Options{})
	defer b.Close()
	for range 500 {
		ctx, cancel := context.WithCancel(t.Context())
		ready, done := make(chan struct{}), make(chan error, 1)
		go func() {
			done <- b.Receive(ctx, first, bus.ReceiveOptions{MaxOutstanding: 1, Ready: ready}, func(context.Context, *bus.Delivery) bus.Outcome {
				t.Error("a handler began after its receiver ended")
				return bus.Outcome{Verdict: bus.Ack}
			})
		}()
		<-ready
		cancel()
		if err := b.Publish(t.Context(), topic, event("x", 1)); err != nil {
			t.Fatalf("publish: %v", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		err := b.Receive(ctx, first, bus.ReceiveOptions{MaxOutstanding: 1}, func(_ context.Context, d *bus.Delivery) bus.Outcome {
			if d.Attempt != 1 {
				t.Errorf("attempt %d, want 1", d.Attempt)
			}
			cancel()
			return bus.Outcome{Verdict: bus.Ack}
		})
		if err := errors.Join(err, <-done); err != nil {
			t.Fatalf("receive: %v", err)
		}
	}
}

// Receivers come and go at random while messages flow: nothing is lost, and
// nothing is in two hands at once, because no lease ends here.
func TestNothingIsLostWhileReceiversComeAndGo(t *testing.T) {
	t.Parallel()
	const messages, receivers = 2000, 4
	b := membus.New(topics, []events.Subscription{{
		Name: first, Topic: topic, Mode: events.Shared, MinBackoff: 50 * time.Microsecond, MaxBackoff: time.Millisecond,
		AckDeadline: time.Minute, MaxExtension: time.Hour,
	}}, membus.Options{})
	defer b.Close()

	var mu sync.Mutex
	held, acked := map[string]bool{}, map[string]bool{}
	all := make(chan struct{})
	handler := func(_ context.Context, d *bus.Delivery) bus.Outcome {
		id := d.Event.ID()
		mu.Lock()
		if held[id] || acked[id] {
			t.Errorf("%s delivered while held or after its ack", id)
		}
		held[id] = true
		mu.Unlock()
		ok := rand.IntN(4) > 0
		mu.Lock()
		defer mu.Unlock()
		held[id] = false
		if !ok {
			return bus.Outcome{Verdict: bus.Retry}
		}
		if acked[id] = true; len(acked) == messages {
			close(all)
		}
		return bus.Outcome{Verdict: bus.Ack}
	}
	var wg sync.WaitGroup
	for range receivers {
		wg.Go(func() {
			for {
				select {
				case <-all:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(3000))*time.Microsecond)
				if err := b.Receive(ctx, first, bus.ReceiveOptions{MaxOutstanding: 1 + rand.IntN(3)}, handler); err != nil {
					t.Errorf("receive: %v", err)
				}
				cancel()
			}
		})
	}
	for i := range messages {
		if err := b.Publish(t.Context(), topic, event(fmt.Sprint(i), 10)); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	wg.Wait()
}

func BenchmarkPublishToHandler(b *testing.B) {
	for _, mode := range []string{first, instance} {
		b.Run(mode, func(b *testing.B) {
			m := membus.New(topics, subs, membus.Options{})
			ctx, cancel := context.WithCancel(b.Context())
			ready, began, done := make(chan struct{}), make(chan time.Time, 1), make(chan error, 1)
			go func() {
				done <- m.Receive(ctx, mode, bus.ReceiveOptions{MaxOutstanding: 8, Ready: ready}, func(context.Context, *bus.Delivery) bus.Outcome {
					began <- time.Now()
					return bus.Outcome{Verdict: bus.Ack}
				})
			}()
			<-ready
			ev := event("x", 1024)
			b.ReportAllocs()
			lat := make([]time.Duration, 0, b.N)
			for b.Loop() {
				at := time.Now()
				if err := m.Publish(ctx, topic, ev); err != nil && mode == first {
					b.Fatal(err)
				}
				lat = append(lat, (<-began).Sub(at))
			}
			slices.Sort(lat)
			b.ReportMetric(float64(lat[len(lat)/2].Nanoseconds()), "p50-ns")
			b.ReportMetric(float64(lat[len(lat)*99/100].Nanoseconds()), "p99-ns")
			cancel()
			if err := <-done; err != nil {
				b.Error(err)
			}
			if err := m.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}
