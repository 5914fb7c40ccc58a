package pubsubbus_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/gcp/pubsubbus"
)

func openPush() *pubsubbus.Push {
	return &pubsubbus.Push{Subscriptions: []string{pushed}, Auth: pubsubbus.PushAuth{Mode: pubsubbus.PushOpen}}
}

// receiving runs Receive until the test or the returned function ends it.
func receiving(t *testing.T, d bus.Driver, subscription string, slots int, h bus.Handler) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- d.Receive(ctx, subscription, bus.ReceiveOptions{MaxOutstanding: slots, Ready: ready}, h)
	}()
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("not ready")
	}
	var err error
	ended := false
	stop = func() error {
		if cancel(); !ended {
			err, ended = <-done, true
		}
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("receive: %v", err)
		}
	})
	return stop
}

func postPush(ctx context.Context, t *testing.T, push http.Handler, header map[string]string, body string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/push/"+pushed, strings.NewReader(body))
	for k, v := range header {
		req.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	push.ServeHTTP(w, req)
	return w
}

func eventHeader() map[string]string {
	return map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": "e1", "Ce-Source": "/s", "Ce-Type": "t", "Ce-Lane": "short", "Content-Type": "application/json",
		"X-Goog-Pubsub-Message-Id": "17", "X-Goog-Pubsub-Publish-Time": "2026-05-06T07:08:09.5Z",
	}
}

func TestPushAnswersWhatTheHandlerSays(t *testing.T) {
	t.Parallel()
	push := openPush()
	d := offline(t, push)
	if w := postPush(t.Context(), t, push, eventHeader(), `{}`); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("without a receiver: %d %v", w.Code, w.Header())
	}
	verdict := bus.Ack
	var got *bus.Delivery
	stop := receiving(t, d, pushed, 1, func(_ context.Context, del *bus.Delivery) bus.Outcome {
		got = del
		return bus.Outcome{Verdict: verdict}
	})
	for v, want := range map[bus.Verdict]int{bus.Ack: 204, bus.Retry: 503, bus.Reject: 503, 0: 503} {
		verdict = v
		if w := postPush(t.Context(), t, push, eventHeader(), `{"a": 1}`); w.Code != want {
			t.Errorf("verdict %d: status %d, want %d", v, w.Code, want)
		}
	}
	if got.Event.ID() != "e1" || string(got.Event.Data()) != `{"a": 1}` || got.Event.Extensions()["lane"] != "short" || got.Attempt != 1 ||
		!got.PublishedAt.Equal(time.Date(2026, 5, 6, 7, 8, 9, 500_000_000, time.UTC)) {
		t.Errorf("delivery %+v", got)
	}
	verdict = bus.Ack
	structured := `{"specversion":"1.0","id":"e2","source":"/s","type":"t","data":{"b":2}}`
	header := map[string]string{"Content-Type": "application/cloudevents+json; charset=utf-8", "X-Goog-Pubsub-Delivery-Attempt": "3"}
	if w := postPush(t.Context(), t, push, header, structured); w.Code != http.StatusNoContent || got.Event.ID() != "e2" || got.Attempt != 3 {
		t.Errorf("structured: %d, %s, attempt %d", w.Code, got.Event.ID(), got.Attempt)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if w := postPush(t.Context(), t, push, eventHeader(), `{}`); w.Code != http.StatusServiceUnavailable {
		t.Errorf("after the receiver: %d", w.Code)
	}
}

func TestPushRefusesRequests(t *testing.T) {
	t.Parallel()
	push := openPush()
	d := offline(t, push)
	receiving(t, d, pushed, 1, func(context.Context, *bus.Delivery) bus.Outcome { return bus.Outcome{Verdict: bus.Ack} })
	for name, c := range map[string]struct {
		method, path, body string
		want               int
	}{
		"another subscription": {http.MethodPost, "/push/job-commands.other", "", http.StatusNotFound},
		"no subscription":      {http.MethodPost, "/push/", "", http.StatusNotFound},
		"another method":       {http.MethodGet, "/push/" + pushed, "", http.StatusMethodNotAllowed},
		"too large":            {http.MethodPost, "/push/" + pushed, strings.Repeat("x", 12<<20), http.StatusRequestEntityTooLarge},
	} {
		w := httptest.NewRecorder()
		push.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body)))
		if w.Code != c.want {
			t.Errorf("%s: status %d, want %d", name, w.Code, c.want)
		}
	}
}

func TestPushHonoursTheSlots(t *testing.T) {
	t.Parallel()
	push := openPush()
	d := offline(t, push)
	began, release := make(chan struct{}, 1), make(chan struct{})
	receiving(t, d, pushed, 1, func(context.Context, *bus.Delivery) bus.Outcome {
		began <- struct{}{}
		<-release
		return bus.Outcome{Verdict: bus.Ack}
	})
	first := make(chan int, 1)
	go func() { first <- postPush(t.Context(), t, push, eventHeader(), `{}`).Code }()
	<-began
	if w := postPush(t.Context(), t, push, eventHeader(), `{}`); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("second: %d %v", w.Code, w.Header())
	}
	close(release)
	if code := <-first; code != http.StatusNoContent {
		t.Errorf("first: %d", code)
	}
	if w := postPush(t.Context(), t, push, eventHeader(), `{}`); w.Code != http.StatusNoContent {
		t.Errorf("third: %d", w.Code)
	}
}

func TestPushLeaseEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	push := openPush()
	d := offline(t, push)
	causes, release := make(chan error, 1), make(chan struct{})
	receiving(t, d, pushed, 1, func(ctx context.Context, _ *bus.Delivery) bus.Outcome {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		<-release // deaf for a while
		return bus.Outcome{Verdict: bus.Ack}
	})
	ctx, hangUp := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() { code <- postPush(ctx, t, push, eventHeader(), `{}`).Code }()
	hangUp()
	if got := <-code; got != http.StatusServiceUnavailable {
		t.Errorf("status %d", got)
	}
	if cause := <-causes; !errors.Is(cause, bus.ErrLeaseLost) {
		t.Errorf("cause %v, want ErrLeaseLost", cause)
	}
	close(release)
}

// TestPushFromTheEmulator is the whole way: publish, the emulator's push
// subscription, the handler, retry and ack, and a message that is no event.
func TestPushFromTheEmulator(t *testing.T) {
	t.Parallel()
	push := openPush()
	topics, subs := pushTopology()
	d := openDriver(t, pubsubbus.Config{Topics: topics, Subscriptions: subs, Push: push, Project: project()})
	bootstrap(t, d)
	type visit struct {
		id, data string
		at       time.Time
	}
	visits := make(chan visit, 16)
	n := 0
	receiving(t, d, pushed, 1, func(_ context.Context, del *bus.Delivery) bus.Outcome {
		visits <- visit{del.Event.ID(), string(del.Event.Data()), del.PublishedAt}
		if n++; n == 1 {
			return bus.Outcome{Verdict: bus.Retry}
		}
		return bus.Outcome{Verdict: bus.Ack}
	})
	dead := make(chan *rawMessage, 1)
	srv := httptest.NewServer(push)
	t.Cleanup(srv.Close)
	raw := rawClient(t, d)
	if _, err := raw.SubscriptionAdminClient.UpdateSubscription(t.Context(), pushConfig(d, srv.URL+"/push/"+pushed)); err != nil {
		t.Fatal(err)
	}
	ev := jobEvent(t, "e1")
	before := time.Now().Add(-time.Minute)
	if err := d.Publish(t.Context(), events.TopicJobCommands, ev); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		select {
		case v := <-visits:
			if v.id != "e1" || v.data != string(ev.Data()) || v.at.Before(before) {
				t.Errorf("delivery %d: %+v", i, v)
			}
		case <-time.After(patience):
			t.Fatalf("delivery %d did not come", i)
		}
	}
	go func() { dead <- pullOne(raw, d, pushed+".dlq") }()
	publishRaw(t, raw, d, events.TopicJobCommands, &pubsubpb.PubsubMessage{Data: []byte("garbage"), Attributes: map[string]string{"x": "y"}})
	select {
	case m := <-dead:
		if m == nil || string(m.GetMessage().GetData()) != "garbage" || m.GetMessage().GetAttributes()[bus.ExtDLQSubscription] != pushed {
			t.Errorf("dead letter %v", m)
		}
	case <-time.After(patience):
		t.Fatal("no dead letter")
	}
	select {
	case v := <-visits:
		t.Errorf("delivered again: %+v", v)
	case <-time.After(3 * time.Second):
	}
}
