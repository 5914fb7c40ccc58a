package pubsubbus_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/gcp/pubsubbus"
)

// patience is how long a probe waits for what the emulator is known to do. A
// busy machine must not look like an emulator that has learned to behave.
const patience = 2 * time.Minute

// baseline is what the emulator does otherwise than Pub/Sub, and why the suite
// leaves it out or the driver works around it. Each row probes the emulator
// itself and fails when it starts to behave: then the row goes and the feature
// is switched on.
var baseline = []struct {
	name, reason string
	// behaves reports whether the emulator does what Pub/Sub does.
	behaves func(t *testing.T, e *emulator) bool
}{
	{
		"filters", "it delivers what the filter of a subscription excludes; receivers drop events of other lanes",
		func(t *testing.T, e *emulator) bool {
			t.Helper()
			e.publishShort(t)
			return e.pull(t, events.SubJobCommandsWorkerLong, patience) == nil
		},
	},
	{
		"the first retry keeps the minimum backoff", "it delivers a message that was given back for the first time again at once (Features.Backoff)",
		func(t *testing.T, e *emulator) bool {
			t.Helper()
			// On a busy machine a single message may take that long for other
			// reasons, so one that came at once settles it.
			for range 10 {
				e.publishShort(t)
				m := e.pull(t, events.SubJobCommandsWorkerShort, patience)
				began := time.Now()
				e.giveBack(t, events.SubJobCommandsWorkerShort, m)
				m = e.pull(t, events.SubJobCommandsWorkerShort, patience)
				took := time.Since(began)
				e.acknowledge(t, events.SubJobCommandsWorkerShort, m)
				if took < 700*time.Millisecond { // of 1 s
					return false
				}
			}
			return true
		},
	},
	{
		"max outstanding", "it sends a stream more messages than it asked for, so that others get none; a receiver that stays full closes its stream",
		func(t *testing.T, e *emulator) bool {
			t.Helper()
			stream := e.stream(t, 1)
			e.publishShort(t)
			e.publishShort(t)
			return received(stream, 2, patience) < 2
		},
	},
	{
		"answers to pings", "it answers no ping of a stream, so that a silent stream of an emulator is never suspected",
		func(t *testing.T, e *emulator) bool {
			t.Helper()
			stream := e.stream(t, 1)
			if err := stream.Send(&pubsubpb.StreamingPullRequest{}); err != nil {
				t.Fatal(err)
			}
			answered := make(chan struct{})
			go func() {
				if _, err := stream.Recv(); err == nil {
					close(answered)
				}
			}()
			select {
			case <-answered:
				return true
			case <-time.After(3 * time.Second):
				return false
			}
		},
	},
	{
		"tokens on pushes", "it sends no OIDC token, so that pushes from it are let in unchecked (PushOpen)",
		func(t *testing.T, e *emulator) bool {
			t.Helper()
			tokens := make(chan string, 16)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				tokens <- req.Header.Get("Authorization")
				w.WriteHeader(http.StatusNoContent)
			}))
			t.Cleanup(srv.Close)
			if _, err := e.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{
				Name: subPath(e.d, "with-token"), Topic: topicPath(e.d, events.TopicJobCommands),
				PushConfig: &pubsubpb.PushConfig{
					PushEndpoint:         srv.URL,
					AuthenticationMethod: &pubsubpb.PushConfig_OidcToken_{OidcToken: &pubsubpb.PushConfig_OidcToken{ServiceAccountEmail: pushAccount, Audience: pushAudience}},
				},
			}); err != nil {
				t.Fatal(err)
			}
			e.publishShort(t)
			select {
			case token := <-tokens:
				return token != ""
			case <-time.After(patience):
				t.Fatal("nothing was pushed")
				return false
			}
		},
	},
	{
		"limits of attributes", "it takes attributes of any number and size; only the codec keeps to the limits",
		func(t *testing.T, e *emulator) bool {
			t.Helper()
			_, err := e.TopicAdminClient.Publish(t.Context(), &pubsubpb.PublishRequest{
				Topic:    topicPath(e.d, events.TopicJobCommands),
				Messages: []*pubsubpb.PubsubMessage{{Attributes: map[string]string{"a": string(make([]byte, 2000))}}},
			})
			return err != nil
		},
	},
}

func TestBaselineOfTheEmulator(t *testing.T) {
	t.Parallel()
	for _, row := range baseline {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := newEmulator(t)
			if row.behaves(t, e) {
				t.Errorf("the emulator does what Pub/Sub does: remove this row (%s)", row.reason)
			}
		})
	}
}

// emulator is a project with lanes, and a client beside the driver.
type emulator struct {
	*pubsub.Client

	d *pubsubbus.Driver
}

func newEmulator(t *testing.T) *emulator {
	t.Helper()
	d := openDriver(t, pubsubbus.Config{Topics: events.Topics, Subscriptions: events.Deployed(true), Project: project()})
	bootstrap(t, d)
	return &emulator{rawClient(t, d), d}
}

func (e *emulator) publishShort(t *testing.T) {
	t.Helper()
	if err := e.d.Publish(t.Context(), events.TopicJobCommands, jobEvent(t, "e")); err != nil {
		t.Fatal(err)
	}
}

// pull waits for one message, nil when none comes.
func (e *emulator) pull(t *testing.T, subscription string, limit time.Duration) *rawMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for ctx.Err() == nil {
		res, err := e.SubscriptionAdminClient.Pull(ctx, &pubsubpb.PullRequest{Subscription: subPath(e.d, subscription), MaxMessages: 1})
		if err == nil && len(res.GetReceivedMessages()) > 0 {
			return res.GetReceivedMessages()[0]
		}
	}
	return nil
}

func (e *emulator) giveBack(t *testing.T, subscription string, m *rawMessage) {
	t.Helper()
	if err := e.SubscriptionAdminClient.ModifyAckDeadline(t.Context(), &pubsubpb.ModifyAckDeadlineRequest{
		Subscription: subPath(e.d, subscription), AckIds: []string{m.GetAckId()},
	}); err != nil {
		t.Fatal(err)
	}
}

func (e *emulator) acknowledge(t *testing.T, subscription string, m *rawMessage) {
	t.Helper()
	if err := e.SubscriptionAdminClient.Acknowledge(t.Context(), &pubsubpb.AcknowledgeRequest{
		Subscription: subPath(e.d, subscription), AckIds: []string{m.GetAckId()},
	}); err != nil {
		t.Fatal(err)
	}
}

// stream opens a streaming pull that lasts as long as the test.
func (e *emulator) stream(t *testing.T, slots int64) pubsubpb.Subscriber_StreamingPullClient {
	t.Helper()
	stream, err := e.SubscriptionAdminClient.StreamingPull(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pubsubpb.StreamingPullRequest{
		Subscription: subPath(e.d, events.SubJobCommandsWorkerShort), StreamAckDeadlineSeconds: 60, MaxOutstandingMessages: slots, ProtocolVersion: 1,
	}); err != nil {
		t.Fatal(err)
	}
	return stream
}

// received counts messages until there are n or the limit passed.
func received(stream pubsubpb.Subscriber_StreamingPullClient, n int, limit time.Duration) int {
	counts := make(chan int)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			res, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case counts <- len(res.GetReceivedMessages()):
			case <-done:
				return
			}
		}
	}()
	total, timer := 0, time.After(limit)
	for total < n {
		select {
		case more := <-counts:
			total += more
		case <-timer:
			return total
		}
	}
	return total
}
