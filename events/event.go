package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Event is a CloudEvents 1.0 event: the only thing the bus carries.
type Event = event.Event

// Extension attributes (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions).
const (
	// ExtPartitionKey is the job id: the ordering key where the bus orders.
	ExtPartitionKey = "partitionkey"
	// ExtTraceParent carries the W3C trace context across the bus.
	ExtTraceParent = "traceparent"
	// ExtLane is the job's lane, for subscription filters.
	ExtLane = "lane"
)

// SchemaBase prefixes the dataschema attribute of every event.
const SchemaBase = "https://codexgateway.dev/schemas/"

// Errors of [Decode]. Both are poison: no redelivery makes the event readable.
var (
	// ErrUnknownType means the type is not in [Registry].
	ErrUnknownType = errors.New("events: unknown event type")
	// ErrMalformed means the data is not the JSON its type promises.
	ErrMalformed = errors.New("events: malformed event data")
)

// Head is what an event says about itself besides its payload.
type Head struct {
	// ID is unique per source; a redelivery has the same one.
	ID string
	// Source is the publishing service, "/codexgw/<service>".
	Source string
	// Subject is the id of the thing the event is about: the job id for job events.
	Subject string
	Time    time.Time
	// TraceParent is the W3C trace context, may be empty.
	TraceParent string
	// Lane is set on job commands only.
	Lane string
}

// New builds the CloudEvent of a payload (a pointer or value of a registered
// type). It fails only on a payload that is not in the registry.
func New(head Head, payload any) (Event, error) {
	spec, ok := specOf(payload)
	if !ok {
		return Event{}, fmt.Errorf("%w: payload %T", ErrUnknownType, payload)
	}
	data, err := json.Marshal(payload)
	if err != nil {
		return Event{}, fmt.Errorf("events: encode %s: %w", spec.Type, err)
	}
	// The schema's URL was parsed once; each event gets a copy of its own.
	schema := *spec.context.DataSchema
	ev := event.Event{Context: &event.EventContextV1{DataSchema: &schema}}
	ev.SetID(head.ID)
	ev.SetSource(head.Source)
	ev.SetType(spec.Type)
	ev.SetTime(head.Time)
	ev.SetDataContentType(event.ApplicationJSON)
	if head.Subject != "" {
		ev.SetSubject(head.Subject)
		ev.SetExtension(ExtPartitionKey, head.Subject)
	}
	if head.TraceParent != "" {
		ev.SetExtension(ExtTraceParent, head.TraceParent)
	}
	if head.Lane != "" {
		ev.SetExtension(ExtLane, head.Lane)
	}
	ev.DataEncoded = data
	return ev, nil
}

// Decode returns the payload of an event as a pointer to its registered type.
// Fields it does not know are ignored.
func Decode(ev *Event) (any, error) {
	spec, ok := Lookup(ev.Type())
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownType, ev.Type())
	}
	payload := spec.New()
	// null would decode as a payload without a single value.
	if string(bytes.TrimSpace(ev.Data())) == "null" {
		return nil, fmt.Errorf("%w: %s: null", ErrMalformed, ev.Type())
	}
	if err := json.Unmarshal(ev.Data(), payload); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, ev.Type(), err)
	}
	return payload, nil
}

// specOf finds the registry row of a payload by its Go type.
func specOf(payload any) (row, bool) {
	t := reflect.TypeOf(payload)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	r, ok := byPayload[t]
	return r, ok
}
