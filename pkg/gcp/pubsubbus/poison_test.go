package pubsubbus_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/gcp/pubsubbus"
)

// What carries no event leaves the subscription at once, with its bytes and
// attributes, and says why; a foreign event is the handler's to judge.
func TestPoisonGoesToTheDeadLetter(t *testing.T) {
	t.Parallel()
	topics, subs := production()
	d := openDriver(t, pubsubbus.Config{Topics: topics, Subscriptions: subs, Project: project()})
	bootstrap(t, d)
	handled := make(chan string, 16)
	receiving(t, d, events.SubJobCommandsWorker, 1, func(_ context.Context, del *bus.Delivery) bus.Outcome {
		handled <- del.Event.Type()
		return bus.Outcome{Verdict: bus.Ack}
	})
	raw := rawClient(t, d)
	for name, m := range map[string]*pubsubpb.PubsubMessage{
		"no event":    {Data: []byte("\x00\xffgarbage"), Attributes: map[string]string{"googclient_x": "1"}},
		"old event":   {Data: []byte("{}"), Attributes: map[string]string{"ce-specversion": "0.3", "ce-id": "1", "ce-type": "t", "ce-source": "/s"}},
		"bad time":    {Attributes: map[string]string{"ce-specversion": "1.0", "ce-id": "1", "ce-type": "t", "ce-source": "/s", "ce-time": "\n\r" + strings.Repeat("é", 500)}},
		"a batch":     {Data: []byte("[]"), Attributes: map[string]string{"content-type": "application/cloudevents-batch+json"}},
		"broken JSON": {Data: []byte("{"), Attributes: map[string]string{"Content-Type": "application/cloudevents+json"}},
	} {
		publishRaw(t, raw, d, events.TopicJobCommands, m)
		dead := pullOne(raw, d, events.SubJobCommandsWorker+".dlq")
		if dead == nil {
			t.Fatalf("%s: no dead letter", name)
		}
		got := dead.GetMessage()
		attrs := got.GetAttributes()
		if attrs[bus.ExtDLQReason] == "" || attrs[bus.ExtDLQSubscription] != events.SubJobCommandsWorker {
			t.Errorf("%s: reason %q, subscription %q", name, attrs[bus.ExtDLQReason], attrs[bus.ExtDLQSubscription])
		}
		delete(attrs, bus.ExtDLQReason)
		delete(attrs, bus.ExtDLQSubscription)
		if diff := cmp.Diff(m.GetAttributes(), attrs); diff != "" || string(got.GetData()) != string(m.GetData()) {
			t.Errorf("%s: data %q, attributes:\n%s", name, got.GetData(), diff)
		}
	}
	publishRaw(t, raw, d, events.TopicJobCommands, &pubsubpb.PubsubMessage{
		Data:       []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"com.example.foreign"}`),
		Attributes: map[string]string{"content-type": "application/cloudevents+json"},
	})
	select {
	case got := <-handled:
		if got != "com.example.foreign" {
			t.Errorf("handler got %s", got)
		}
	case <-time.After(patience):
		t.Fatal("a foreign event was not handed over")
	}
}

func TestAttemptsAreCountedWhereADeadLetterIsConfigured(t *testing.T) {
	t.Parallel()
	topics, subs := production()
	d := openDriver(t, pubsubbus.Config{Topics: topics, Subscriptions: subs, Project: project()})
	bootstrap(t, d)
	attempts := make(chan int, 8)
	receiving(t, d, events.SubWebhookReceivedEdge, 1, func(_ context.Context, del *bus.Delivery) bus.Outcome {
		attempts <- del.Attempt
		if del.Attempt < 3 {
			return bus.Outcome{Verdict: bus.Retry}
		}
		return bus.Outcome{Verdict: bus.Ack}
	})
	ev, err := events.New(events.Head{ID: "e", Source: "/s", Time: time.Now()}, events.WebhookReceived{DeliveryID: "d", Source: "github", Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), events.TopicWebhookReceived, ev); err != nil {
		t.Fatal(err)
	}
	for want := 1; want <= 3; want++ {
		select {
		case got := <-attempts:
			if got != want {
				t.Errorf("attempt %d, want %d", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("attempt %d did not come", want)
		}
	}
}
