package events

import (
	"reflect"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Spec ties one event type to its topic and its payload. The table below is
// the only place where the three meet.
type Spec struct {
	Type  string
	Topic string
	// Doc is one sentence: what has become true when this event is seen.
	Doc string
	// New returns a pointer to an empty payload.
	New func() any
}

// Registry is every event type, in the order of the documentation.
var Registry = []Spec{
	{TypeJobSubmittedV1, TopicJobCommands, "A job is stored and waits for a worker.", func() any { return new(JobSubmitted) }},
	{TypeJobProgressedV1, TopicJobProgress, "A batch of a job's event log is stored.", func() any { return new(JobProgressed) }},
	{TypeJobCompletedV1, TopicJobLifecycle, "A job ended with an answer.", func() any { return new(JobCompleted) }},
	{TypeJobFailedV1, TopicJobLifecycle, "A job ended without an answer.", func() any { return new(JobFailed) }},
	{TypeJobCancelledV1, TopicJobLifecycle, "A job was stopped on request.", func() any { return new(JobCancelled) }},
	{TypeJobTimedOutV1, TopicJobLifecycle, "A job reached its time limit.", func() any { return new(JobTimedOut) }},
	{TypeJobCancelRequestedV1, TopicJobControl, "The wish to stop a job is stored.", func() any { return new(JobCancelRequested) }},
	{TypeJobSteerRequestedV1, TopicJobControl, "New input for a running job is stored.", func() any { return new(JobSteerRequested) }},
	{TypeApprovalRequestedV1, TopicJobLifecycle, "A job waits for a person's answer.", func() any { return new(ApprovalRequested) }},
	{TypeApprovalAnsweredV1, TopicJobControl, "A person's answer is stored.", func() any { return new(ApprovalAnswered) }},
	{TypeWebhookReceivedV1, TopicWebhookReceived, "A verified webhook is stored.", func() any { return new(WebhookReceived) }},
	{TypeKeyRevokedV1, TopicKeyControl, "A key is no longer valid.", func() any { return new(KeyRevoked) }},
	{TypeKeyRotatedV1, TopicKeyControl, "A key has a new secret, and its old one an end.", func() any { return new(KeyRotated) }},
}

// row is a spec with what New would otherwise work out for every event.
type row struct {
	Spec

	// context holds the parsed dataschema; it is copied, never handed out.
	context event.EventContextV1
}

// byPayload is Registry by the Go type of the payload.
var byPayload = func() map[reflect.Type]row {
	m := make(map[reflect.Type]row, len(Registry))
	for _, s := range Registry {
		r := row{Spec: s}
		if err := r.context.SetDataSchema(SchemaBase + s.Type + ".json"); err != nil {
			panic(err) // a type that makes no URL: TestTypesFollowTheForm is about it too
		}
		m[reflect.TypeOf(s.New()).Elem()] = r
	}
	return m
}()

// Lookup finds the spec of an event type.
func Lookup(eventType string) (Spec, bool) {
	for _, s := range Registry {
		if s.Type == eventType {
			return s, true
		}
	}
	return Spec{}, false
}
