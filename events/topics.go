package events

import (
	"slices"
	"time"
)

// Topic names. The environment is the project, never a prefix of the name.
const (
	TopicJobCommands     = "job-commands"
	TopicJobProgress     = "job-progress"
	TopicJobLifecycle    = "job-lifecycle"
	TopicJobControl      = "job-control"
	TopicWebhookReceived = "webhook-received"
	TopicKeyControl      = "key-control"
)

// Mode says who hears a message of a subscription.
type Mode string

const (
	// Shared subscriptions have one winner per message: it is redelivered until
	// somebody acks it or the dead letter takes it.
	Shared Mode = "shared"
	// PerInstance subscriptions exist once for every running instance and end
	// with it: everyone hears every message, nobody hears the past.
	PerInstance Mode = "per-instance"
)

// Topic is a named channel of events.
type Topic struct {
	Name string
	// Doc is one sentence for the reference and the architecture picture.
	Doc string
	// From lists the services that publish here.
	From []string
}

// Subscription is one service's reading of one topic. The numbers are those of
// Pub/Sub (https://cloud.google.com/pubsub/docs/subscription-properties), so
// that the embedded bus and the cloud behave alike.
type Subscription struct {
	// Name is "<topic>.<service>", or "<topic>.<service>-<lane>".
	Name    string
	Topic   string
	Service string
	Mode    Mode
	// AckDeadline is how long a delivery stays with a consumer that neither
	// answers nor extends.
	AckDeadline time.Duration
	// MaxExtension bounds how long a live consumer may hold one message: longer
	// than the longest job, or a job would be redelivered while it still runs.
	MaxExtension time.Duration
	// MinBackoff and MaxBackoff space the redeliveries of a nacked message.
	MinBackoff, MaxBackoff time.Duration
	// MaxDeliveries is the number of deliveries after which the message goes to
	// the dead letter. 0: never; the consumer decides from documents.
	MaxDeliveries int
	// DeadLetter is the topic for messages nobody can handle; empty: dropped,
	// which is right only where documents repair the loss.
	DeadLetter string
	// Lane takes only events whose extension [ExtLane] has this value (on
	// Pub/Sub a filter on the attribute "ce-lane"). Empty: all events.
	Lane string
	// InsteadOf names the subscription that this one replaces together with the
	// others that name it. A deployment has either that one or all of these: with
	// both, every message is delivered twice. See [Deployed].
	InsteadOf string
	// Retention is how long a message that nobody acks is kept. 0: 7 days.
	Retention time.Duration
	// ExpireAfter is how long the subscription outlives its last reader. 0: it
	// never expires.
	ExpireAfter time.Duration
}

// Values of ExtLane.
const (
	LaneShort = "short"
	LaneLong  = "long"
)

// Topics is every topic of the system.
var Topics = []Topic{
	{Name: TopicJobCommands, From: []string{"edge", "reconciler"}, Doc: "A job waits for a worker; one worker wins."},
	{Name: TopicJobProgress, From: []string{"worker"}, Doc: "A batch of a job's event log was stored; every edge instance hears."},
	{Name: TopicJobLifecycle, From: []string{"edge", "worker", "reconciler"}, Doc: "A job ended or waits for an answer; the notifier tells the outside."},
	{Name: TopicJobControl, From: []string{"edge"}, Doc: "Somebody wants a running job to stop, turn or go on; every worker hears."},
	{Name: TopicWebhookReceived, From: []string{"edge"}, Doc: "A verified webhook was stored and waits for the trigger rules."},
	{Name: TopicKeyControl, From: []string{"edge"}, Doc: "A key was revoked or rotated; every edge instance hears and closes its sockets."},
}

// Retention and expiry by mode. An instance's messages are worth nothing once
// its watchers have read the log; its subscription is removed by its instance,
// and a day after a crash by Pub/Sub, which takes no less.
const (
	sharedRetention   = 7 * 24 * time.Hour
	instanceRetention = 10 * time.Minute
	instanceExpiry    = 24 * time.Hour
)

// maxPush is how long Pub/Sub waits for the answer to a pushed message at most.
const maxPush = 10 * time.Minute

// maxJob is the longest job (6 h) plus the time to hand its message back.
const maxJob = 6*time.Hour + 10*time.Minute

// Subscriptions is every subscription of the system.
var Subscriptions = []Subscription{
	{
		Name: TopicJobCommands + ".worker", Topic: TopicJobCommands, Service: "worker", Mode: Shared,
		AckDeadline: 30 * time.Second, MaxExtension: maxJob,
		MinBackoff: time.Second, MaxBackoff: 30 * time.Second,
		MaxDeliveries: 0, DeadLetter: SubJobCommandsWorker + ".dlq", Retention: sharedRetention,
	},
	{
		// Made for push, whose request lasts as long as the job: hence the deadline.
		Name: SubJobCommandsWorkerShort, Topic: TopicJobCommands, Service: "worker", Mode: Shared,
		Lane: LaneShort, InsteadOf: SubJobCommandsWorker,
		AckDeadline: maxPush, MaxExtension: maxPush,
		MinBackoff: time.Second, MaxBackoff: 30 * time.Second,
		MaxDeliveries: 0, DeadLetter: SubJobCommandsWorkerShort + ".dlq", Retention: sharedRetention,
	},
	{
		Name: SubJobCommandsWorkerLong, Topic: TopicJobCommands, Service: "worker", Mode: Shared,
		Lane: LaneLong, InsteadOf: SubJobCommandsWorker,
		AckDeadline: 30 * time.Second, MaxExtension: maxJob,
		MinBackoff: time.Second, MaxBackoff: 30 * time.Second,
		MaxDeliveries: 0, DeadLetter: SubJobCommandsWorkerLong + ".dlq", Retention: sharedRetention,
	},
	{
		Name: TopicJobProgress + ".edge", Topic: TopicJobProgress, Service: "edge", Mode: PerInstance,
		AckDeadline: 10 * time.Second, MaxExtension: time.Minute,
		Retention: instanceRetention, ExpireAfter: instanceExpiry,
	},
	{
		Name: TopicJobLifecycle + ".notifier", Topic: TopicJobLifecycle, Service: "notifier", Mode: Shared,
		AckDeadline: 30 * time.Second, MaxExtension: 10 * time.Minute,
		MinBackoff: time.Second, MaxBackoff: 10 * time.Minute,
		MaxDeliveries: 20, DeadLetter: TopicJobLifecycle + ".notifier.dlq", Retention: sharedRetention,
	},
	{
		Name: TopicJobControl + ".worker", Topic: TopicJobControl, Service: "worker", Mode: PerInstance,
		AckDeadline: 10 * time.Second, MaxExtension: time.Minute,
		Retention: instanceRetention, ExpireAfter: instanceExpiry,
	},
	{
		Name: TopicWebhookReceived + ".edge", Topic: TopicWebhookReceived, Service: "edge", Mode: Shared,
		AckDeadline: 30 * time.Second, MaxExtension: 10 * time.Minute,
		MinBackoff: time.Second, MaxBackoff: 10 * time.Minute,
		MaxDeliveries: 20, DeadLetter: TopicWebhookReceived + ".edge.dlq", Retention: sharedRetention,
	},
	{
		Name: TopicKeyControl + ".edge", Topic: TopicKeyControl, Service: "edge", Mode: PerInstance,
		AckDeadline: 10 * time.Second, MaxExtension: time.Minute,
		Retention: instanceRetention, ExpireAfter: instanceExpiry,
	},
}

// Names of the subscriptions, for the services that open them.
const (
	SubJobCommandsWorker = TopicJobCommands + ".worker"
	// These two together are instead of the one above.
	SubJobCommandsWorkerShort = TopicJobCommands + ".worker-" + LaneShort
	SubJobCommandsWorkerLong  = TopicJobCommands + ".worker-" + LaneLong

	SubJobProgressEdge      = TopicJobProgress + ".edge"
	SubJobLifecycleNotifier = TopicJobLifecycle + ".notifier"
	SubJobControlWorker     = TopicJobControl + ".worker"
	SubWebhookReceivedEdge  = TopicWebhookReceived + ".edge"
	SubKeyControlEdge       = TopicKeyControl + ".edge"
)

// Deployed is the subscriptions that one deployment has: those that every one
// has, and of the alternatives the joint subscription, or with lanes the ones
// that replace it.
func Deployed(lanes bool) []Subscription {
	replaced := make(map[string]bool)
	for _, s := range Subscriptions {
		replaced[s.InsteadOf] = true
	}
	return slices.DeleteFunc(slices.Clone(Subscriptions), func(s Subscription) bool {
		if lanes {
			return s.InsteadOf == "" && replaced[s.Name]
		}
		return s.InsteadOf != ""
	})
}
