package pubsubbus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"codexgateway.dev/events"
)

// ErrDiffers means that a subscription exists with a setting that Pub/Sub does
// not change on an existing one.
var ErrDiffers = errors.New("pubsubbus: subscription differs from its declaration")

// Bootstrap creates every declared topic, dead letter and shared subscription
// that is missing and updates subscriptions that differ; it may run any number
// of times, also at the same time. It goes on after an error and returns all of
// them; ErrDiffers for a subscription whose topic or filter is another: delete
// it first. In production Terraform does this; here it is for emulators.
//
// The Pub/Sub service agent's permission to forward dead letters is not its
// business.
func (d *Driver) Bootstrap(ctx context.Context) error {
	var all []error
	for _, t := range d.topics {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		_, err := d.client.TopicAdminClient.CreateTopic(call, &pubsubpb.Topic{Name: d.topicPath(t.Name)})
		cancel()
		if err != nil && codeOf(err) != codes.AlreadyExists {
			all = append(all, fmt.Errorf("pubsubbus: create %w", d.explain("topic", t.Name, err)))
		}
	}
	for _, s := range d.subs {
		if s.Mode == events.PerInstance {
			continue // each instance creates its own
		}
		if err := d.ensure(ctx, d.wanted(d.byName[s.Name], s.Name)); err != nil {
			all = append(all, fmt.Errorf("pubsubbus: create %w", err))
		}
	}
	return errors.Join(all...)
}

// ensure makes a subscription be as wanted.
func (d *Driver) ensure(ctx context.Context, want *pubsubpb.Subscription) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	id := shortName(want.GetName())
	have, err := d.client.SubscriptionAdminClient.CreateSubscription(ctx, want)
	if codeOf(err) == codes.AlreadyExists {
		have, err = d.client.SubscriptionAdminClient.GetSubscription(ctx, &pubsubpb.GetSubscriptionRequest{Subscription: want.GetName()})
	}
	if err != nil {
		return d.explain("subscription", id, err)
	}
	if have.GetTopic() != want.GetTopic() || have.GetFilter() != want.GetFilter() {
		return fmt.Errorf("subscription %s: %w: it reads %s with filter %q, declared are %s and %q",
			id, ErrDiffers, shortName(have.GetTopic()), have.GetFilter(), shortName(want.GetTopic()), want.GetFilter())
	}
	paths := differences(have, want)
	if len(paths) == 0 {
		return nil
	}
	_, err = d.client.SubscriptionAdminClient.UpdateSubscription(ctx, &pubsubpb.UpdateSubscriptionRequest{
		Subscription: want, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths},
	})
	return d.explain("subscription", id, err)
}

// differences are the fields to update, as a field mask.
func differences(have, want *pubsubpb.Subscription) (paths []string) {
	if have.GetAckDeadlineSeconds() != want.GetAckDeadlineSeconds() {
		paths = append(paths, "ack_deadline_seconds")
	}
	if !proto.Equal(have.GetMessageRetentionDuration(), want.GetMessageRetentionDuration()) {
		paths = append(paths, "message_retention_duration")
	}
	if !sameExpiry(have.GetExpirationPolicy(), want.GetExpirationPolicy()) {
		paths = append(paths, "expiration_policy")
	}
	if !proto.Equal(have.GetRetryPolicy(), want.GetRetryPolicy()) {
		paths = append(paths, "retry_policy")
	}
	if !proto.Equal(have.GetDeadLetterPolicy(), want.GetDeadLetterPolicy()) {
		paths = append(paths, "dead_letter_policy")
	}
	return paths
}

// sameExpiry compares policies; one without a time never expires.
func sameExpiry(have, want *pubsubpb.ExpirationPolicy) bool {
	return have.GetTtl().AsDuration() == want.GetTtl().AsDuration()
}

// wanted is a declared subscription as Pub/Sub takes it.
func (d *Driver) wanted(s events.Subscription, id string) *pubsubpb.Subscription {
	out := &pubsubpb.Subscription{
		Name: d.subPath(id), Topic: d.topicPath(s.Topic),
		AckDeadlineSeconds:       wholeSeconds(s.AckDeadline),
		MessageRetentionDuration: durationpb.New(s.Retention),
		// No TTL in the policy: never. No policy at all would mean 31 days.
		ExpirationPolicy: &pubsubpb.ExpirationPolicy{},
	}
	if s.ExpireAfter > 0 {
		out.ExpirationPolicy.Ttl = durationpb.New(s.ExpireAfter)
	}
	if s.Lane != "" {
		out.Filter = fmt.Sprintf("attributes.\"ce-%s\" = %q", events.ExtLane, s.Lane)
	}
	if s.MaxBackoff > 0 {
		out.RetryPolicy = &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(s.MinBackoff), MaximumBackoff: durationpb.New(s.MaxBackoff)}
	}
	if s.MaxDeliveries > 0 && s.DeadLetter != "" {
		out.DeadLetterPolicy = &pubsubpb.DeadLetterPolicy{
			DeadLetterTopic: d.topicPath(s.DeadLetter), MaxDeliveryAttempts: int32(min(max(s.MaxDeliveries, 5), 100)),
		}
	}
	return out
}

// wholeSeconds is an ack deadline as Pub/Sub takes it.
func wholeSeconds(d time.Duration) int32 {
	return int32(min(d, maxAckDeadline) / time.Second) //nolint:gosec // at most 600
}

// shortName is the last part of a resource path.
func shortName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// instanceName makes a name fit into that of a subscription.
func instanceName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, s)
	if s == "" {
		return "instance"
	}
	return s[:min(len(s), 63)]
}

// instanceID is a new name for a subscription of this process alone.
func (d *Driver) instanceID(declared string) string {
	return declared + "." + d.instance + "." + strings.ToLower(rand.Text()[:12])
}

// createInstance creates a subscription of this process, when it is not there.
// It hears everything published from then on.
func (d *Driver) createInstance(ctx context.Context, s events.Subscription, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := d.client.SubscriptionAdminClient.CreateSubscription(ctx, d.wanted(s, id))
	switch codeOf(err) {
	case codes.AlreadyExists: // the name is random: an answer of ours got lost
		return nil
	case codes.NotFound:
		return d.explain("topic", s.Topic, err)
	default:
		return d.explain("subscription", id, err)
	}
}

// removeInstance deletes the subscription of this process. What remains after
// an error expires.
func (d *Driver) removeInstance(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout/2)
	defer cancel()
	err := d.client.SubscriptionAdminClient.DeleteSubscription(ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: d.subPath(id)})
	if err != nil && codeOf(err) != codes.NotFound {
		d.log.WarnContext(ctx, "bus subscription of this instance not deleted, it will expire",
			slog.String("subscription", id), slog.String("error", err.Error()))
	}
}
