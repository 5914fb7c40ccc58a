package pubsubbus_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/gcp/pubsubbus"
)

func TestBootstrapCreatesEverythingAnyNumberOfTimes(t *testing.T) {
	t.Parallel()
	p := project()
	var wg sync.WaitGroup
	var d *pubsubbus.Driver
	for range 3 { // at the same time, as replicas would
		replica := openDriver(t, pubsubbus.Config{Project: p, Topics: events.Topics, Subscriptions: events.Deployed(true)})
		d = replica
		wg.Go(func() {
			if err := replica.Bootstrap(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	raw := rawClient(t, d)
	topics, subs := bus.WithDeadLetters(events.Topics, events.Deployed(true))
	for _, topic := range topics {
		if _, err := raw.TopicAdminClient.GetTopic(t.Context(), &pubsubpb.GetTopicRequest{Topic: topicPath(d, topic.Name)}); err != nil {
			t.Errorf("topic %s: %v", topic.Name, err)
		}
	}
	for _, s := range subs {
		got, err := raw.SubscriptionAdminClient.GetSubscription(t.Context(), &pubsubpb.GetSubscriptionRequest{Subscription: subPath(d, s.Name)})
		if s.Mode == events.PerInstance {
			if err == nil {
				t.Errorf("%s exists without an instance", s.Name)
			}
			continue
		}
		if err != nil {
			t.Errorf("subscription %s: %v", s.Name, err)
			continue
		}
		want := &pubsubpb.Subscription{
			Name: subPath(d, s.Name), Topic: topicPath(d, s.Topic), AckDeadlineSeconds: int32(s.AckDeadline / time.Second),
			MessageRetentionDuration: durationpb.New(7 * 24 * time.Hour), ExpirationPolicy: &pubsubpb.ExpirationPolicy{},
			RetryPolicy: &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(s.MinBackoff), MaximumBackoff: durationpb.New(s.MaxBackoff)},
			State:       got.GetState(), PushConfig: got.GetPushConfig(),
		}
		if s.Lane != "" {
			want.Filter = `attributes."ce-lane" = "` + s.Lane + `"`
		}
		if s.MaxDeliveries > 0 {
			want.DeadLetterPolicy = &pubsubpb.DeadLetterPolicy{DeadLetterTopic: topicPath(d, s.DeadLetter), MaxDeliveryAttempts: int32(s.MaxDeliveries)}
		}
		if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreEmptyMessages()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.Name, diff)
		}
	}
}

func TestBootstrapUpdatesWhatItCanAndReportsTheRest(t *testing.T) {
	t.Parallel()
	p := project()
	topics, subs := production()
	d := openDriver(t, pubsubbus.Config{Project: p, Topics: topics, Subscriptions: subs})
	bootstrap(t, d)
	changed := append([]events.Subscription(nil), subs...)
	for i := range changed {
		if changed[i].Name == events.SubWebhookReceivedEdge {
			changed[i].AckDeadline, changed[i].MaxDeliveries, changed[i].MaxBackoff = time.Minute, 7, time.Minute
		}
		if changed[i].Name == events.SubJobCommandsWorker {
			changed[i].Lane = events.LaneShort
		}
	}
	d2 := openDriver(t, pubsubbus.Config{Project: p, Topics: topics, Subscriptions: changed})
	if err := d2.Bootstrap(t.Context()); !errors.Is(err, pubsubbus.ErrDiffers) {
		t.Errorf("error %v, want ErrDiffers for the filter", err)
	}
	got, err := rawClient(t, d).SubscriptionAdminClient.GetSubscription(t.Context(), &pubsubpb.GetSubscriptionRequest{Subscription: subPath(d, events.SubWebhookReceivedEdge)})
	if err != nil {
		t.Fatal(err)
	}
	if got.GetAckDeadlineSeconds() != 60 || got.GetDeadLetterPolicy().GetMaxDeliveryAttempts() != 7 || got.GetRetryPolicy().GetMaximumBackoff().AsDuration() != time.Minute {
		t.Errorf("not updated: %v", got)
	}
}

func TestPingNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	topics, subs := production()
	d := openDriver(t, pubsubbus.Config{Topics: topics, Subscriptions: subs, Project: project()})
	if err := pingIn(d, 10*time.Second); err == nil {
		t.Error("ping of an empty project succeeds")
	}
	bootstrap(t, d)
	if err := pingIn(d, 10*time.Second); err != nil {
		t.Errorf("ping: %v", err)
	}
	if err := rawClient(t, d).TopicAdminClient.DeleteTopic(t.Context(), &pubsubpb.DeleteTopicRequest{Topic: topicPath(d, events.TopicJobControl)}); err != nil {
		t.Fatal(err)
	}
	if err := pingIn(d, 10*time.Second); err == nil {
		t.Error("ping succeeds without job-control")
	}
}
