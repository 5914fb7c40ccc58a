package pubsubbus_test

import (
	"context"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/gcp/pubsubbus"
)

type rawMessage = pubsubpb.ReceivedMessage

// rawClient speaks to the emulator beside the driver.
func rawClient(tb testing.TB, d *pubsubbus.Driver) *pubsub.Client {
	tb.Helper()
	c, err := pubsub.NewClient(tb.Context(), d.Project(), option.WithEndpoint(cloud.PubSub(tb)), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() }) // both halves share connections: one of them is closed twice
	return c
}

func topicPath(d *pubsubbus.Driver, name string) string {
	return "projects/" + d.Project() + "/topics/" + name
}

func subPath(d *pubsubbus.Driver, name string) string {
	return "projects/" + d.Project() + "/subscriptions/" + name
}

func pushConfig(d *pubsubbus.Driver, url string) *pubsubpb.UpdateSubscriptionRequest {
	return &pubsubpb.UpdateSubscriptionRequest{
		Subscription: &pubsubpb.Subscription{Name: subPath(d, pushed), PushConfig: &pubsubpb.PushConfig{
			PushEndpoint: url, Wrapper: &pubsubpb.PushConfig_NoWrapper_{NoWrapper: &pubsubpb.PushConfig_NoWrapper{WriteMetadata: true}},
		}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"push_config"}},
	}
}

func publishRaw(tb testing.TB, c *pubsub.Client, d *pubsubbus.Driver, topic string, m *pubsubpb.PubsubMessage) {
	tb.Helper()
	if _, err := c.TopicAdminClient.Publish(tb.Context(), &pubsubpb.PublishRequest{
		Topic: topicPath(d, topic), Messages: []*pubsubpb.PubsubMessage{m},
	}); err != nil {
		tb.Fatal(err)
	}
}

// pullOne takes the next message of a subscription and acknowledges it; nil
// when none comes in a minute.
func pullOne(c *pubsub.Client, d *pubsubbus.Driver, subscription string) *rawMessage {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for ctx.Err() == nil {
		res, err := c.SubscriptionAdminClient.Pull(ctx, &pubsubpb.PullRequest{Subscription: subPath(d, subscription), MaxMessages: 1})
		if err != nil {
			return nil
		}
		for _, m := range res.GetReceivedMessages() {
			_ = c.SubscriptionAdminClient.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{
				Subscription: subPath(d, subscription), AckIds: []string{m.GetAckId()},
			})
			return m
		}
	}
	return nil
}

func jobEvent(tb testing.TB, id string) events.Event {
	tb.Helper()
	ev, err := events.New(events.Head{ID: id, Source: "/codexgw/test", Subject: "job_1", Lane: events.LaneShort, Time: time.Now()},
		events.JobSubmitted{JobID: "job_1", ConversationID: "conv_1", Tenant: "acme", Lane: events.LaneShort})
	if err != nil {
		tb.Fatal(err)
	}
	return ev
}
