package events

import "time"

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
	// Name is "<topic>.<service>".
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
}

// Topics is every topic of the system.
var Topics = []Topic{
	{Name: TopicJobCommands, From: []string{"edge", "reconciler"}, Doc: "A job waits for a worker; one worker wins."},
	{Name: TopicJobProgress, From: []string{"worker"}, Doc: "A batch of a job's event log was stored; every edge instance hears."},
	{Name: TopicJobLifecycle, From: []string{"edge", "worker", "reconciler"}, Doc: "A job ended or waits for an answer; the notifier tells the outside."},
	{Name: TopicJobControl, From: []string{"edge"}, Doc: "Somebody wants a running job to stop, turn or go on; every worker hears."},
	{Name: TopicWebhookReceived, From: []string{"edge"}, Doc: "A verified webhook was stored and waits for the trigger rules."},
	{Name: TopicKeyControl, From: []string{"edge"}, Doc: "A key was revoked; every edge instance hears and closes its sockets."},
}

// maxJob is the longest job (6 h) plus the time to hand its message back.
const maxJob = 6*time.Hour + 10*time.Minute

// Subscriptions is every subscription of the system.
var Subscriptions = []Subscription{
	{
		Name: TopicJobCommands + ".worker", Topic: TopicJobCommands, Service: "worker", Mode: Shared,
		AckDeadline: 30 * time.Second, MaxExtension: maxJob,
		MinBackoff: time.Second, MaxBackoff: 30 * time.Second,
		MaxDeliveries: 0, DeadLetter: TopicJobCommands + ".worker.dlq",
	},
	{
		Name: TopicJobProgress + ".edge", Topic: TopicJobProgress, Service: "edge", Mode: PerInstance,
		AckDeadline: 10 * time.Second, MaxExtension: time.Minute,
	},
	{
		Name: TopicJobLifecycle + ".notifier", Topic: TopicJobLifecycle, Service: "notifier", Mode: Shared,
		AckDeadline: 30 * time.Second, MaxExtension: 10 * time.Minute,
		MinBackoff: time.Second, MaxBackoff: 10 * time.Minute,
		MaxDeliveries: 20, DeadLetter: TopicJobLifecycle + ".notifier.dlq",
	},
	{
		Name: TopicJobControl + ".worker", Topic: TopicJobControl, Service: "worker", Mode: PerInstance,
		AckDeadline: 10 * time.Second, MaxExtension: time.Minute,
	},
	{
		Name: TopicWebhookReceived + ".edge", Topic: TopicWebhookReceived, Service: "edge", Mode: Shared,
		AckDeadline: 30 * time.Second, MaxExtension: 10 * time.Minute,
		MinBackoff: time.Second, MaxBackoff: 10 * time.Minute,
		MaxDeliveries: 20, DeadLetter: TopicWebhookReceived + ".edge.dlq",
	},
	{
		Name: TopicKeyControl + ".edge", Topic: TopicKeyControl, Service: "edge", Mode: PerInstance,
		AckDeadline: 10 * time.Second, MaxExtension: time.Minute,
	},
}

// Names of the subscriptions, for the services that open them.
const (
	SubJobCommandsWorker    = TopicJobCommands + ".worker"
	SubJobProgressEdge      = TopicJobProgress + ".edge"
	SubJobLifecycleNotifier = TopicJobLifecycle + ".notifier"
	SubJobControlWorker     = TopicJobControl + ".worker"
	SubWebhookReceivedEdge  = TopicWebhookReceived + ".edge"
	SubKeyControlEdge       = TopicKeyControl + ".edge"
)
