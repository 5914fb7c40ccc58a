package pubsubbus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/gcp/pubsubbus"
	"codexgateway.dev/pkg/wait"
)

// production is the topology of the gateway, with lanes together.
func production() ([]events.Topic, []events.Subscription) {
	return events.Topics, events.Deployed(false)
}

// eventually repeats f until it succeeds, for at most two minutes.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return
		}
		if !wait.For(ctx, 200*time.Millisecond) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// bootstrap creates what d declares. An emulator that has just started, on a busy
// machine, may let one of the calls wait for too long: then all are made again.
func bootstrap(t *testing.T, d *pubsubbus.Driver) {
	t.Helper()
	eventually(t, "bootstrap", func() error { return d.Bootstrap(t.Context()) })
}

func publishIn(d *pubsubbus.Driver, limit time.Duration, ev events.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return d.Publish(ctx, events.TopicJobCommands, ev)
}

func pingIn(d *pubsubbus.Driver, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return d.Ping(ctx)
}

// ownEmulator is an emulator of the test's own, which it may harm.
func ownEmulator(t *testing.T) *gcptest.Emulator {
	t.Helper()
	emu, err := gcptest.StartEmulator(t.Context(), gcptest.PubSub, "")
	if errors.Is(err, gcptest.ErrNoEmulators) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := emu.Stop(); err != nil {
			t.Error(err)
		}
	})
	return emu
}

// TestAnEmulatorThatPausesStopsAndLosesEverything is what compose and the fault
// campaign do to the bus: nothing hangs, and all is well when it is back.
func TestAnEmulatorThatPausesStopsAndLosesEverything(t *testing.T) {
	t.Parallel()
	emu := ownEmulator(t)
	topics, subs := production()
	d := openDriver(t, pubsubbus.Config{Emulator: emu.Addr, Topics: topics, Subscriptions: subs, Instance: "me"})
	bootstrap(t, d)
	commands, progress := make(chan string, 64), make(chan string, 64)
	into := func(ch chan string) bus.Handler {
		return func(_ context.Context, del *bus.Delivery) bus.Outcome {
			ch <- del.Event.ID()
			return bus.Outcome{Verdict: bus.Ack}
		}
	}
	receiving(t, d, events.SubJobCommandsWorker, 2, into(commands))
	receiving(t, d, events.SubJobProgressEdge, 2, into(progress))
	both := func(id string) {
		t.Helper()
		for ch, publish := range map[chan string]func() error{
			commands: func() error { return publishIn(d, 5*time.Second, jobEvent(t, id)) },
			progress: func() error { return publishProgress(t, d, id) },
		} {
			// Published until heard: an instance hears nothing of before its subscription.
			eventually(t, "hear "+id, func() error {
				if err := publish(); err != nil {
					return err
				}
				for {
					select {
					case got := <-ch:
						if got == id {
							return nil
						}
					case <-time.After(2 * time.Second):
						return errors.New("not heard")
					}
				}
			})
		}
	}
	both("before")
	eventually(t, "ping", func() error { return pingIn(d, 5*time.Second) })

	if err := emu.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := publishIn(d, time.Second, jobEvent(t, "paused")); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("publish to a paused emulator: %v, want ErrUnavailable", err)
	}
	// It returns by its own deadline: the emulator stands still until it has.
	if err := pingIn(d, time.Second); err == nil {
		t.Error("ping of a paused emulator succeeds")
	}
	if err := emu.Resume(); err != nil {
		t.Fatal(err)
	}
	both("resumed")

	if err := emu.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := publishIn(d, time.Second, jobEvent(t, "stopped")); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("publish to a stopped emulator: %v, want ErrUnavailable", err)
	}
	if err := pingIn(d, time.Second); err == nil {
		t.Error("ping of a stopped emulator succeeds")
	}
	if err := emu.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "publish to an empty emulator finds no topic", func() error {
		if err := publishIn(d, 5*time.Second, jobEvent(t, "empty")); !errors.Is(err, bus.ErrUnavailable) {
			return errors.New("no ErrUnavailable")
		}
		return nil
	})
	if err := pingIn(d, 5*time.Second); err == nil {
		t.Error("ping of an empty emulator succeeds")
	}
	bootstrap(t, d)
	both("again")
	eventually(t, "ping", func() error { return pingIn(d, 5*time.Second) })
}

func publishProgress(t *testing.T, d *pubsubbus.Driver, id string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	ev, err := events.New(events.Head{ID: id, Source: "/codexgw/test", Subject: "job_1", Time: time.Now()}, events.JobProgressed{JobID: "job_1", Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	return d.Publish(ctx, events.TopicJobProgress, ev)
}

func TestAReceiverWaitsForItsSubscription(t *testing.T) {
	t.Parallel()
	topics, subs := production()
	d := openDriver(t, pubsubbus.Config{Topics: topics, Subscriptions: subs, Project: project()})
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	heard := make(chan string, 1)
	go func() {
		done <- d.Receive(ctx, events.SubJobCommandsWorker, bus.ReceiveOptions{MaxOutstanding: 1, Ready: ready},
			func(_ context.Context, del *bus.Delivery) bus.Outcome {
				heard <- del.Event.ID()
				return bus.Outcome{Verdict: bus.Ack}
			})
	}()
	eventually(t, "ping names the subscription", func() error {
		if err := pingIn(d, 5*time.Second); err == nil {
			return errors.New("ping succeeds")
		}
		return nil
	})
	select {
	case <-ready:
		t.Error("ready without a subscription")
	default:
	}
	bootstrap(t, d)
	<-ready
	if err := d.Publish(t.Context(), events.TopicJobCommands, jobEvent(t, "e1")); err != nil {
		t.Fatal(err)
	}
	if id := <-heard; id != "e1" {
		t.Errorf("heard %s", id)
	}
	eventually(t, "ping", func() error { return pingIn(d, 5*time.Second) })
	cancel()
	if err := <-done; err != nil {
		t.Errorf("receive: %v", err)
	}
}

func TestAnInstanceSubscriptionThatVanishedIsCreatedAgain(t *testing.T) {
	t.Parallel()
	topics, subs := production()
	d := openDriver(t, pubsubbus.Config{Topics: topics, Subscriptions: subs, Project: project(), Instance: "edge/7.é"})
	bootstrap(t, d)
	heard := make(chan string, 64)
	stop := receiving(t, d, events.SubJobProgressEdge, 4, func(_ context.Context, del *bus.Delivery) bus.Outcome {
		heard <- del.Event.ID()
		return bus.Outcome{Verdict: bus.Ack}
	})
	raw := rawClient(t, d)
	mine := func() []string {
		t.Helper()
		var names []string
		it := raw.SubscriptionAdminClient.ListSubscriptions(t.Context(), &pubsubpb.ListSubscriptionsRequest{Project: "projects/" + d.Project()})
		for s, err := range it.All() {
			if err != nil {
				t.Fatal(err)
			}
			if s.GetTopic() == topicPath(d, events.TopicJobProgress) {
				names = append(names, s.GetName())
				if s.GetExpirationPolicy().GetTtl().AsDuration() != 24*time.Hour || s.GetMessageRetentionDuration().AsDuration() != 10*time.Minute {
					t.Errorf("expires after %v, retention %v", s.GetExpirationPolicy().GetTtl().AsDuration(), s.GetMessageRetentionDuration().AsDuration())
				}
			}
		}
		return names
	}
	names := mine()
	if len(names) != 1 {
		t.Fatalf("subscriptions %v", names)
	}
	if err := raw.SubscriptionAdminClient.DeleteSubscription(t.Context(), &pubsubpb.DeleteSubscriptionRequest{Subscription: names[0]}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "hear again", func() error {
		if err := publishProgress(t, d, "again"); err != nil {
			return err
		}
		select {
		case <-heard:
			return nil
		case <-time.After(time.Second):
			return errors.New("not heard")
		}
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if left := mine(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A handler whose lease can no longer be extended must learn it: after the ack
// deadline the message belongs to somebody else.
func TestALeaseThatCannotBeExtendedIsLost(t *testing.T) {
	t.Parallel()
	emu := ownEmulator(t)
	d := openDriver(t, pubsubbus.Config{
		Emulator: emu.Addr, Topics: []events.Topic{{Name: events.TopicJobCommands}},
		Subscriptions: []events.Subscription{{
			Name: "job-commands.held", Topic: events.TopicJobCommands, Mode: events.Shared,
			AckDeadline: 10 * time.Second, MaxExtension: time.Hour, MinBackoff: time.Second, MaxBackoff: time.Second,
		}},
	})
	bootstrap(t, d)
	began, causes := make(chan time.Time, 1), make(chan error, 1)
	receiving(t, d, "job-commands.held", 1, func(ctx context.Context, _ *bus.Delivery) bus.Outcome {
		began <- time.Now()
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return bus.Outcome{Verdict: bus.Ack}
	})
	if err := publishIn(d, time.Minute, jobEvent(t, "held")); err != nil {
		t.Fatal(err)
	}
	at := <-began
	// Alive past its first deadline, because it is extended.
	select {
	case cause := <-causes:
		t.Fatalf("lost after %v: %v", time.Since(at), cause)
	case <-time.After(13 * time.Second):
	}
	if err := emu.Stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case cause := <-causes:
		if !errors.Is(cause, bus.ErrLeaseLost) {
			t.Errorf("cause %v, want ErrLeaseLost", cause)
		}
	case <-time.After(patience):
		t.Fatal("the handler was not told")
	}
}
