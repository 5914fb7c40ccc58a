package remote_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/goleak"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/docstoretest"
	"codexgateway.dev/pkg/embedded/membus"
	"codexgateway.dev/pkg/embedded/sqlitestore"
	"codexgateway.dev/test/chaos/internal/host"
	"codexgateway.dev/test/chaos/internal/remote"
	"codexgateway.dev/test/chaos/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit ends a test that hangs.
const limit = 30 * time.Second

// serve runs a host for the rest of the test, or until stop is called.
func serve(t *testing.T, socket string, docs docstore.Driver, f wire.Faults) (stop func()) {
	t.Helper()
	messages := membus.New(events.Topics, events.Subscriptions, membus.Options{})
	ln, err := host.Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	h := host.New(host.Options{Docs: docs, Bus: messages, Seed: 1, Faults: f, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, messages.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// store opens documents that the test closes.
func store(t *testing.T, schema docstore.Schema) docstore.Driver {
	t.Helper()
	docs, err := sqlitestore.Open(t.Context(), filepath.Join(t.TempDir(), "db"), schema, sqlitestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := docs.Close(); err != nil {
			t.Error(err)
		}
	})
	return docs
}

func connect(t *testing.T, socket string) *remote.Host {
	t.Helper()
	h := remote.At(socket)
	t.Cleanup(h.Close)
	return h
}

// What the campaign tells about the gateway holds only if the socket between
// them keeps every promise of the port.
func TestRemoteDocumentsKeepThePromisesOfThePort(t *testing.T) {
	t.Parallel()
	docstoretest.Run(t, func(t *testing.T, schema docstore.Schema) docstore.Driver {
		t.Helper()
		socket := filepath.Join(t.TempDir(), "s")
		serve(t, socket, store(t, schema), wire.Faults{})
		return connect(t, socket).Docs()
	}, docstoretest.Features{Racers: 8, Rounds: 2})
}

var plain = docstore.Schema{{Name: "plain"}}

func create(id string) []docstore.Write {
	return []docstore.Write{{Op: docstore.Create, Key: docstore.Key{Collection: "plain", ID: id}, Data: []byte("x")}}
}

func TestFaultsLookAsTheyDoInProduction(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		faults wire.Faults
		want   error
		landed bool
	}{
		"refused":    {wire.Faults{Refuse: 1}, docstore.ErrUnavailable, false},
		"unanswered": {wire.Faults{Unanswered: 1}, docstore.ErrUnavailable, true},
		"full":       {wire.Faults{Full: true}, docstore.ErrFull, false},
		"slow":       {wire.Faults{Slow: time.Millisecond}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket, docs := filepath.Join(t.TempDir(), "s"), store(t, plain)
			serve(t, socket, docs, c.faults)
			at := connect(t, socket)
			if _, err := at.Docs().Commit(t.Context(), create("a")); !errors.Is(err, c.want) {
				t.Errorf("commit: %v, want %v", err, c.want)
			}
			_, err := docs.Get(t.Context(), create("a")[0].Key)
			if landed := err == nil; landed != c.landed {
				t.Errorf("the commit landed: %t, want %t", landed, c.landed)
			}
			if err := at.SetFaults(t.Context(), wire.Faults{}); err != nil {
				t.Fatal(err)
			}
			if _, err := at.Docs().Commit(t.Context(), create("b")); err != nil {
				t.Errorf("after the faults: %v", err)
			}
		})
	}
}

func TestWithoutAHostNothingIsKnown(t *testing.T) {
	t.Parallel()
	at := connect(t, filepath.Join(t.TempDir(), "nobody"))
	_, err := at.Docs().Commit(t.Context(), create("a"))
	if !errors.Is(err, docstore.ErrUnavailable) {
		t.Errorf("commit: %v", err)
	}
	if _, err := at.Docs().Get(t.Context(), create("a")[0].Key); !errors.Is(err, docstore.ErrUnavailable) {
		t.Errorf("get: %v", err)
	}
	if err := at.Bus().Publish(t.Context(), events.TopicJobCommands, message("1")); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("publish: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := at.Docs().Get(ended, create("a")[0].Key); !errors.Is(err, context.Canceled) || errors.Is(err, docstore.ErrUnavailable) {
		t.Errorf("get of a caller that has left: %v", err)
	}
}

func message(id string) events.Event {
	ev := event.New()
	ev.SetID(id)
	ev.SetSource("/test")
	ev.SetType("t")
	ev.SetSubject("job_" + id)
	ev.SetTime(time.Unix(1700000000, 123000000).UTC())
	ev.SetExtension(events.ExtLane, "short")
	ev.DataEncoded = []byte(`{"a":"<&>"}`)
	return ev
}

// receive runs a receiver until the test ends.
func receive(t *testing.T, b *remote.Bus, sub string, most int, h bus.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- b.Receive(ctx, sub, bus.ReceiveOptions{MaxOutstanding: most, Ready: ready}, h) }()
	wait(t, ready, "the subscription hears")
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("receive: %v", err)
			}
		case <-time.After(limit):
			t.Error("receive did not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

func wait[T any](t *testing.T, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(limit):
		t.Fatalf("not in %v: %s", limit, what)
	}
	return v
}

func publish(t *testing.T, b *remote.Bus, topic, id string) {
	t.Helper()
	if err := b.Publish(t.Context(), topic, message(id)); err != nil {
		t.Fatal(err)
	}
}

func TestAMessageArrivesAsItWas(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	serve(t, socket, store(t, plain), wire.Faults{})
	b := connect(t, socket).Bus()
	got := make(chan *bus.Delivery, 1)
	receive(t, b, events.SubJobCommandsWorker, 1, func(_ context.Context, d *bus.Delivery) bus.Outcome {
		got <- d
		return bus.Outcome{Verdict: bus.Ack}
	})
	publish(t, b, events.TopicJobCommands, "1")
	d, want := wait(t, got, "the message comes"), message("1")
	if d.Event.String() != want.String() || string(d.Event.Data()) != string(want.Data()) || d.Attempt != 1 || d.PublishedAt.IsZero() {
		t.Errorf("got %v\nwant %v", d.Event, want)
	}
}

func TestARetriedMessageComesAgainAndAnAckedOneDoesNot(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	serve(t, socket, store(t, plain), wire.Faults{})
	b := connect(t, socket).Bus()
	attempts := make(chan int, 10)
	receive(t, b, events.SubJobCommandsWorker, 1, func(_ context.Context, d *bus.Delivery) bus.Outcome {
		attempts <- d.Attempt
		if d.Attempt == 1 {
			return bus.Outcome{Verdict: bus.Retry}
		}
		return bus.Outcome{Verdict: bus.Ack}
	})
	publish(t, b, events.TopicJobCommands, "1")
	first, second := wait(t, attempts, "the message comes"), wait(t, attempts, "it comes again")
	if first != 1 || second != 2 {
		t.Errorf("attempts %d and %d", first, second)
	}
}

func TestASubscriptionSurvivesTheHost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket, docs := filepath.Join(dir, "s"), store(t, plain)
	stopHost := serve(t, socket, docs, wire.Faults{})
	h := connect(t, socket)
	b := h.Bus()
	const most = 3
	type began struct {
		ctx context.Context //nolint:containedctx // the handler's, for the test to watch
		id  string
	}
	handlers, held := make(chan began, 100), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	var mu sync.Mutex
	running, peak := 0, 0
	receive(t, b, events.SubJobCommandsWorker, most, func(ctx context.Context, d *bus.Delivery) bus.Outcome {
		mu.Lock()
		running++
		peak = max(peak, running)
		mu.Unlock()
		handlers <- began{ctx, d.Event.ID()}
		<-held
		mu.Lock()
		running--
		mu.Unlock()
		return bus.Outcome{Verdict: bus.Ack}
	})
	defer release() // a test that fails midway can end its receiver
	publish(t, b, events.TopicJobCommands, "before")
	before := wait(t, handlers, "the message comes")
	stopHost()
	wait(t, before.ctx.Done(), "the handler learns that its message is gone")
	if cause := context.Cause(before.ctx); !errors.Is(cause, bus.ErrLeaseLost) {
		t.Errorf("its context ended by %v", cause)
	}
	h.Close() // a call on a connection that the old host has just closed is lost, as a publish may be
	serve(t, socket, docs, wire.Faults{})
	for i := range 5 {
		publish(t, b, events.TopicJobCommands, fmt.Sprint(i))
	}
	for range most - 1 {
		wait(t, handlers, "messages of the new host come, while the old one is held")
	}
	release()
	for range 5 - (most - 1) {
		wait(t, handlers, "the rest comes")
	}
	mu.Lock()
	defer mu.Unlock()
	if peak != most {
		t.Errorf("%d handlers ran at once, want %d", peak, most)
	}
}

// A host that had ended still took a call on a connection it had yet to cut, and
// the publisher heard nothing but a reset.
func TestAHostThatHasEndedTakesNothing(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	stopHost := serve(t, socket, store(t, plain), wire.Faults{})
	conns := make([]net.Conn, 64)
	for i := range conns {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns[i] = conn
	}
	// The host has accepted what it answers, and what was dialled before it.
	if err := connect(t, socket).Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopHost()
	for i, conn := range conns {
		if _, err := conn.Write([]byte("P")); err == nil {
			t.Errorf("connection %d is still open", i)
		}
	}
}

func TestEveryInstanceHearsAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	serve(t, socket, store(t, plain), wire.Faults{})
	heard := make(chan string, 10)
	var stops []func()
	var first *remote.Bus
	for _, name := range []string{"a", "b"} {
		b := connect(t, socket).Bus()
		if first == nil {
			first = b
		}
		stops = append(stops, receive(t, b, events.SubJobProgressEdge, 4, func(context.Context, *bus.Delivery) bus.Outcome {
			heard <- name
			return bus.Outcome{Verdict: bus.Ack}
		}))
	}
	publish(t, first, events.TopicJobProgress, "1")
	if one, other := wait(t, heard, "one hears"), wait(t, heard, "the other hears"); one == other {
		t.Errorf("%s heard twice", one)
	}
	stops[1]()
	publish(t, first, events.TopicJobProgress, "2")
	if who := wait(t, heard, "the one that is left hears"); who != "a" {
		t.Errorf("%s heard after it left", who)
	}
}

func TestLossyMessagesAreLostAndDoubled(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	serve(t, socket, store(t, plain), wire.Faults{Duplicate: 1, Delay: 0.5, MaxDelay: 20 * time.Millisecond})
	at := connect(t, socket)
	b := at.Bus()
	heard := make(chan string, 100)
	receive(t, b, events.SubJobProgressEdge, 1, func(_ context.Context, d *bus.Delivery) bus.Outcome {
		heard <- d.Event.ID()
		return bus.Outcome{Verdict: bus.Ack}
	})
	count := map[string]int{}
	for i := range 10 {
		publish(t, b, events.TopicJobProgress, fmt.Sprint(i))
	}
	for range 20 {
		count[wait(t, heard, "each message comes twice")]++
	}
	for id, n := range count {
		if n != 2 {
			t.Errorf("message %s came %d times", id, n)
		}
	}
	if err := at.SetFaults(t.Context(), wire.Faults{Lose: 1}); err != nil {
		t.Fatal(err)
	}
	publish(t, b, events.TopicJobProgress, "lost")
	if err := at.SetFaults(t.Context(), wire.Faults{}); err != nil {
		t.Fatal(err)
	}
	publish(t, b, events.TopicJobProgress, "next")
	if id := wait(t, heard, "the next one comes"); id != "next" {
		t.Errorf("%s came", id)
	}
}

func TestAnUnknownSubscriptionIsRefused(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	serve(t, socket, store(t, plain), wire.Faults{})
	b := connect(t, socket).Bus()
	err := b.Receive(t.Context(), "nothing", bus.ReceiveOptions{MaxOutstanding: 1}, nil)
	if !errors.Is(err, bus.ErrUnknownTopic) {
		t.Errorf("receive: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := b.Publish(t.Context(), events.TopicJobCommands, message("1")); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("publish: %v", err)
	}
}
