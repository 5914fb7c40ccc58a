package pubsubbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"codexgateway.dev/pkg/bus"
)

// pingCalls is how many resources Ping asks for at once.
const pingCalls = 4

// health is what the receivers know.
type health struct {
	mu sync.Mutex
	// reading counts receivers by the path of their subscription.
	reading map[string]int
	// trouble is why a receiver does not hear now.
	trouble map[*receiver]error
}

func (h *health) init() {
	h.reading, h.trouble = make(map[string]int), make(map[*receiver]error)
}

// reads notes that a subscription is being read (n 1) or is no longer (n -1).
func (h *health) reads(id string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reading[id] += n; h.reading[id] == 0 {
		delete(h.reading, id)
	}
}

// report keeps why r does not hear, nil when it does, and says whether that is
// another state than before.
func (h *health) report(r *receiver, why error) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.trouble[r]
	if why == nil {
		delete(h.trouble, r)
		return old != nil
	}
	h.trouble[r] = why
	return old == nil || codeOf(old) != codeOf(why)
}

// state is the trouble of now and the subscriptions being read.
func (h *health) state() (reading []string, trouble []error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.reading)), slices.Collect(maps.Values(h.trouble))
}

// Ping implements bus.Driver: every declared topic and every subscription that
// is being read exists, and every receiver hears. The error names the first that
// is missing and what to do. It costs nothing but administrative quota.
func (d *Driver) Ping(ctx context.Context) error {
	if !d.begin() {
		return fmt.Errorf("pubsubbus: ping: %w", bus.ErrClosed)
	}
	defer d.active.Done()
	reading, trouble := d.health.state()
	if len(trouble) > 0 {
		return fmt.Errorf("pubsubbus: ping: %w", errors.Join(trouble...))
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	calls, ctx := errgroup.WithContext(ctx)
	calls.SetLimit(pingCalls)
	for _, t := range d.topics {
		if d.isDeadLetter(t.Name) {
			continue // needed only when something is given up
		}
		calls.Go(func() error {
			_, err := d.client.TopicAdminClient.GetTopic(ctx, &pubsubpb.GetTopicRequest{Topic: d.topicPath(t.Name)})
			return d.explain("topic", t.Name, err)
		})
	}
	for _, id := range reading {
		calls.Go(func() error { return d.exists(ctx, id) })
	}
	if err := calls.Wait(); err != nil {
		return fmt.Errorf("pubsubbus: ping: %w", err)
	}
	return nil
}

// exists asks for a subscription.
func (d *Driver) exists(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := d.client.SubscriptionAdminClient.GetSubscription(ctx, &pubsubpb.GetSubscriptionRequest{Subscription: d.subPath(id)})
	return d.explain("subscription", id, err)
}

// isDeadLetter reports whether a topic is one that bus.WithDeadLetters added.
func (d *Driver) isDeadLetter(topic string) bool {
	for _, s := range d.subs {
		if s.DeadLetter == topic {
			return true
		}
	}
	return false
}

// explain says what an error of Pub/Sub about a resource means for people. It
// keeps the error for status.Code.
func (d *Driver) explain(kind, name string, err error) error {
	if err == nil {
		return nil
	}
	switch codeOf(err) {
	case codes.NotFound:
		how := "apply the Terraform"
		if d.emulated {
			how = "run `codexgw bootstrap`"
		}
		return fmt.Errorf("%s %s does not exist in project %s: %s: %w", kind, name, d.project, how, err)
	case codes.PermissionDenied:
		return fmt.Errorf("no permission on %s %s in project %s: grant the service account the roles of its service: %w", kind, name, d.project, err)
	case codes.Unauthenticated:
		return fmt.Errorf("no valid credentials for Pub/Sub: check the service account: %w", err)
	case codes.Unavailable, codes.DeadlineExceeded:
		return fmt.Errorf("cannot reach Pub/Sub for %s %s: check the network, or the emulator: %w", kind, name, err)
	default:
		return fmt.Errorf("%s %s: %w", kind, name, err)
	}
}

// codeOf is the gRPC code of an error, also of one that never left this process.
func codeOf(err error) codes.Code {
	switch code := status.Code(err); {
	case code != codes.Unknown:
		return code
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	default:
		return code
	}
}

// troubled notes that r does not hear, and logs it when that is news.
func (d *Driver) troubled(r *receiver, why error) {
	if d.health.report(r, why) {
		d.log.Warn("bus receiver does not hear, trying again", slog.String("subscription", r.sub.Name), slog.String("error", why.Error()))
	}
}

// hears notes that r hears.
func (d *Driver) hears(r *receiver) {
	if d.health.report(r, nil) {
		d.log.Info("bus receiver hears again", slog.String("subscription", r.sub.Name))
	}
}
