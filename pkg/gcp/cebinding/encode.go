package cebinding

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/types"

	"codexgateway.dev/events"
)

// Limits of the attributes of one message
// (https://cloud.google.com/pubsub/quotas#resource_limits). The emulator does
// not keep them.
const (
	maxAttributes = 100
	maxKeyBytes   = 256
	maxValueBytes = 1024
)

// Encode writes an event as a message: in binary mode, whose data are the
// event's bytes (not a copy), or in structured mode when the attributes do not
// fit. The error is ErrMalformed when ev is no valid event.
func Encode(ev *events.Event) (Message, error) {
	values, err := canonicalValues(ev)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	attrs, fits := attributes(values)
	if fits {
		return Message{Data: ev.DataEncoded, Attributes: attrs}, nil
	}
	data, err := encodeStructured(values, ev.DataEncoded)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	// Those that fit are repeated, for the filters of subscriptions.
	attrs[contentType] = jsonFormat + "; charset=utf-8"
	return Message{Data: data, Attributes: attrs}, nil
}

// attributes returns the binary mode attributes, as many as fit, by name.
func attributes(values map[string]string) (attrs map[string]string, fits bool) {
	attrs, fits = make(map[string]string, len(values)), true
	others := 0 // one place is kept for the content type, which structured mode needs
	for _, name := range slices.Sorted(maps.Keys(values)) {
		key := prefix + name
		if name == "datacontenttype" {
			key = contentType
		}
		if key != contentType {
			others++
		}
		if others == maxAttributes || len(key) > maxKeyBytes || len(values[name]) > maxValueBytes {
			fits = false
			if key != contentType {
				others--
			}
			continue
		}
		attrs[key] = values[name]
	}
	return attrs, fits
}

// canonicalValues returns every attribute of a valid event as its canonical
// string, by name.
func canonicalValues(ev *events.Event) (map[string]string, error) {
	if err := ev.Validate(); err != nil {
		return nil, err
	}
	if v := ev.SpecVersion(); v != specVersion {
		return nil, fmt.Errorf("specversion %q", v)
	}
	values := map[string]string{
		"specversion": specVersion, "id": ev.ID(), "source": ev.Source(), "type": ev.Type(),
		"subject": ev.Subject(), "dataschema": ev.DataSchema(), "datacontenttype": ev.DataContentType(),
	}
	maps.DeleteFunc(values, func(_, value string) bool { return value == "" })
	if t := ev.Time(); !t.IsZero() {
		values["time"] = types.FormatTime(t)
	}
	for name, value := range ev.Extensions() {
		s, err := types.Format(value)
		if err != nil {
			return nil, fmt.Errorf("extension %s: %w", name, err)
		}
		values[name] = s
	}
	for name, value := range values {
		if !utf8.ValidString(value) {
			return nil, fmt.Errorf("attribute %s is not UTF-8", name)
		}
	}
	return values, nil
}
