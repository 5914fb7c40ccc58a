package pubsubbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/grpc/codes"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/gcp/cebinding"
)

// Bounds of what waits to be sent, per topic. Beyond them a publish fails with
// bus.ErrFull: waiting would only hide that Pub/Sub cannot keep up.
const (
	maxUnsentMessages = 1000
	maxUnsentBytes    = 64 << 20
)

// publishLinger is how long a message waits for others to share its request.
// The library's 10 ms would be a third of the time to the watcher.
const publishLinger = time.Millisecond

// publishTimeout bounds the sending of one batch, retries included: 10 MB on a
// slow line. Callers bring shorter deadlines.
const publishTimeout = 30 * time.Second

func publishSettings() pubsub.PublishSettings {
	return pubsub.PublishSettings{
		DelayThreshold: publishLinger,
		CountThreshold: 100,
		ByteThreshold:  1 << 20,
		// The library retries in the background, whatever became of the caller:
		// within this, and no longer, an event may still go out.
		Timeout: publishTimeout,
		FlowControlSettings: pubsub.FlowControlSettings{
			MaxOutstandingMessages: maxUnsentMessages, MaxOutstandingBytes: maxUnsentBytes,
			LimitExceededBehavior: pubsub.FlowControlSignalError,
		},
	}
}

// Publish implements bus.Driver. A declared topic that does not exist in the
// project is ErrUnavailable: it may be created any time.
func (d *Driver) Publish(ctx context.Context, topic string, ev events.Event) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("pubsubbus: publish: %w", err)
	}
	if len(ev.DataEncoded) > bus.MaxMessageBytes {
		return fmt.Errorf("pubsubbus: publish: %w: %d bytes", bus.ErrTooLarge, len(ev.DataEncoded))
	}
	if !d.known[topic] {
		return fmt.Errorf("pubsubbus: publish: %w: topic %q", bus.ErrUnknownTopic, topic)
	}
	m, err := cebinding.Encode(&ev)
	if err != nil {
		return fmt.Errorf("pubsubbus: publish: %w: %w", bus.ErrInvalid, err)
	}
	if err := d.send(ctx, topic, &pubsub.Message{Data: m.Data, Attributes: m.Attributes}); err != nil {
		return fmt.Errorf("pubsubbus: publish: %w", err)
	}
	return nil
}

// send hands a message to Pub/Sub and waits for its answer.
func (d *Driver) send(ctx context.Context, topic string, m *pubsub.Message) error {
	if !d.begin() {
		return bus.ErrClosed
	}
	defer d.active.Done()
	_, err := d.publisher(topic).Publish(ctx, m).Get(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pubsub.ErrFlowControllerMaxOutstandingMessages), errors.Is(err, pubsub.ErrFlowControllerMaxOutstandingBytes):
		return fmt.Errorf("%w: %d messages or %d bytes wait to be sent to %s", bus.ErrFull, maxUnsentMessages, maxUnsentBytes, topic)
	case errors.Is(err, pubsub.ErrOversizedMessage):
		return fmt.Errorf("%w: %w", bus.ErrTooLarge, err)
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case codeOf(err) == codes.InvalidArgument:
		return fmt.Errorf("%w: %w", bus.ErrInvalid, err)
	default:
		return fmt.Errorf("%w: %w", bus.ErrUnavailable, d.explain("topic", topic, err))
	}
}

// publisher returns the one publisher of a topic: batches form across callers.
func (d *Driver) publisher(topic string) *pubsub.Publisher {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.publishers[topic]
	if p == nil {
		p = d.client.Publisher(d.topicPath(topic))
		p.PublishSettings = publishSettings()
		d.publishers[topic] = p
	}
	return p
}
