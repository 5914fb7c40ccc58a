package gcptest

import (
	"context"
	"fmt"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// PubSubClient does to a project on a Pub/Sub emulator what the gateway itself
// never does: it lets a subscription push, publishes what is no event, and reads
// messages as they are.
type PubSubClient struct {
	project     string
	conn        *grpc.ClientConn
	publisher   pubsubpb.PublisherClient
	subscribers pubsubpb.SubscriberClient
}

// Message is a message with nothing interpreted.
type Message struct {
	Data       []byte
	Attributes map[string]string
}

// NewPubSubClient is a client of the emulator at addr. It calls nobody; Close
// ends it.
func NewPubSubClient(addr, project string) (*PubSubClient, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("gcptest: pubsub client: %w", err)
	}
	return &PubSubClient{
		project: project, conn: conn, publisher: pubsubpb.NewPublisherClient(conn), subscribers: pubsubpb.NewSubscriberClient(conn),
	}, nil
}

// Close closes the connection.
func (c *PubSubClient) Close() error { return c.conn.Close() }

func (c *PubSubClient) subscription(name string) string {
	return "projects/" + c.project + "/subscriptions/" + name
}

// PushTo makes a subscription push each message to a URL, as a request that has
// the message's attributes as headers, without a token.
func (c *PubSubClient) PushTo(ctx context.Context, subscription, url string) error {
	_, err := c.subscribers.UpdateSubscription(ctx, &pubsubpb.UpdateSubscriptionRequest{
		Subscription: &pubsubpb.Subscription{Name: c.subscription(subscription), PushConfig: &pubsubpb.PushConfig{
			PushEndpoint: url, Wrapper: &pubsubpb.PushConfig_NoWrapper_{NoWrapper: &pubsubpb.PushConfig_NoWrapper{WriteMetadata: true}},
		}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"push_config"}},
	})
	if err != nil {
		return fmt.Errorf("gcptest: push config of %s: %w", subscription, err)
	}
	return nil
}

// Publish publishes a message as it is.
func (c *PubSubClient) Publish(ctx context.Context, topic string, m Message) error {
	_, err := c.publisher.Publish(ctx, &pubsubpb.PublishRequest{
		Topic:    "projects/" + c.project + "/topics/" + topic,
		Messages: []*pubsubpb.PubsubMessage{{Data: m.Data, Attributes: m.Attributes}},
	})
	if err != nil {
		return fmt.Errorf("gcptest: publish on %s: %w", topic, err)
	}
	return nil
}

// Pull takes up to most messages that a subscription has now, for good.
func (c *PubSubClient) Pull(ctx context.Context, subscription string, most int32) ([]Message, error) {
	res, err := c.subscribers.Pull(ctx, &pubsubpb.PullRequest{
		Subscription: c.subscription(subscription), MaxMessages: most,
		ReturnImmediately: true, //nolint:staticcheck // deprecated for production, where it is slow; here an empty answer is an answer
	})
	if err != nil {
		return nil, fmt.Errorf("gcptest: pull %s: %w", subscription, err)
	}
	var out []Message
	var ids []string
	for _, m := range res.GetReceivedMessages() {
		out = append(out, Message{Data: m.GetMessage().GetData(), Attributes: m.GetMessage().GetAttributes()})
		ids = append(ids, m.GetAckId())
	}
	if len(ids) == 0 {
		return nil, nil
	}
	if _, err := c.subscribers.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: c.subscription(subscription), AckIds: ids}); err != nil {
		return nil, fmt.Errorf("gcptest: acknowledge on %s: %w", subscription, err)
	}
	return out, nil
}
