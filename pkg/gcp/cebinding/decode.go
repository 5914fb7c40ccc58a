package cebinding

import (
	"errors"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"codexgateway.dev/events"
)

// Errors of [Decode], wrapped. All of them are final: the same message never
// becomes readable.
var (
	// ErrNotCloudEvent means the message carries no event at all.
	ErrNotCloudEvent = errors.New("cebinding: not a CloudEvent")
	// ErrBatch means the message carries a batch, which the binding does not define.
	ErrBatch = errors.New("cebinding: batches are not supported")
	// ErrSpecVersion means the event is of another CloudEvents version than 1.0.
	ErrSpecVersion = errors.New("cebinding: unsupported specversion")
	// ErrMalformed means the event breaks a rule of CloudEvents 1.0; from Encode,
	// that no message can carry it.
	ErrMalformed = errors.New("cebinding: malformed CloudEvent")
)

// Names of the binding.
const (
	prefix         = "ce-"
	contentType    = "content-type"
	structuredType = "application/cloudevents"
	jsonFormat     = structuredType + "+json"
	specVersion    = "1.0"
)

// Message is the part of a Pub/Sub message that carries an event.
type Message struct {
	Data       []byte
	Attributes map[string]string
}

// Structured reports whether a message with this content type is one event in
// structured mode (or a batch, which [Decode] refuses).
func Structured(contentType string) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(contentType)), structuredType)
}

// Decode reads the event of a message. The event's data are the message's bytes
// in binary mode, not a copy.
func Decode(m Message) (events.Event, error) {
	attrs, err := lowerKeys(m.Attributes)
	if err != nil {
		return events.Event{}, err
	}
	if kind := attrs[contentType]; Structured(kind) {
		return decodeStructured(kind, m.Data)
	}
	if _, ok := attrs[prefix+"specversion"]; !ok {
		return events.Event{}, fmt.Errorf("%w: no attribute ce-specversion and no content-type %s", ErrNotCloudEvent, structuredType)
	}
	values := make(map[string]string, len(attrs))
	for key, value := range attrs {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			values[name] = value
		}
	}
	if kind, ok := attrs[contentType]; ok { // it counts, whatever ce-datacontenttype says
		values["datacontenttype"] = kind
	}
	return assemble(values, m.Data)
}

// lowerKeys returns the attributes that matter with keys in lower case. Two
// that differ by case only are two answers to one question.
func lowerKeys(in map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(in))
	for key, value := range in {
		lower := strings.ToLower(key)
		if lower != contentType && !strings.HasPrefix(lower, prefix) {
			continue // of somebody else, such as googclient_schemaencoding
		}
		if _, twice := out[lower]; twice {
			return nil, fmt.Errorf("%w: attribute %s twice", ErrMalformed, lower)
		}
		if !utf8.ValidString(value) {
			return nil, fmt.Errorf("%w: attribute %s is not UTF-8", ErrMalformed, lower)
		}
		out[lower] = value
	}
	return out, nil
}

// assemble builds the event of canonical attribute values by name.
func assemble(values map[string]string, data []byte) (events.Event, error) {
	if v := values["specversion"]; v != specVersion {
		return events.Event{}, fmt.Errorf("%w: %q", ErrSpecVersion, v)
	}
	ev := event.New(specVersion)
	ev.DataEncoded = data
	for name, value := range values {
		if err := set(&ev, name, value); err != nil {
			return events.Event{}, fmt.Errorf("%w: %s: %w", ErrMalformed, name, err)
		}
	}
	if err := ev.Validate(); err != nil {
		return events.Event{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return ev, nil
}

var errEmpty = errors.New("empty")

func set(ev *events.Event, name, value string) error {
	switch name {
	case "specversion":
		return nil
	case "id", "source", "type", "subject", "time", "dataschema", "datacontenttype":
		if value == "" { // an extension may be an empty string, these may not
			return errEmpty
		}
	}
	switch name {
	case "id":
		return ev.Context.SetID(value)
	case "source":
		return ev.Context.SetSource(value)
	case "type":
		return ev.Context.SetType(value)
	case "subject":
		return ev.Context.SetSubject(value)
	case "dataschema":
		return ev.Context.SetDataSchema(value)
	case "datacontenttype":
		if _, _, err := mime.ParseMediaType(value); err != nil {
			return err
		}
		return ev.Context.SetDataContentType(value)
	case "time":
		t, err := types.ParseTime(value)
		if err != nil {
			return err
		}
		return ev.Context.SetTime(t)
	case "data", "data_base64": // members of the JSON format, no attributes
		return errors.New("not an attribute name")
	default:
		return ev.Context.SetExtension(name, value)
	}
}
