package cebinding

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"strconv"
	"strings"

	"codexgateway.dev/events"
)

// decodeStructured reads the JSON format
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
func decodeStructured(kind string, raw []byte) (events.Event, error) {
	format, params, err := mime.ParseMediaType(kind)
	switch {
	case err != nil:
		return events.Event{}, fmt.Errorf("%w: content-type: %w", ErrMalformed, err)
	case strings.HasPrefix(format, structuredType+"-batch"):
		return events.Event{}, ErrBatch
	case format != jsonFormat:
		return events.Event{}, fmt.Errorf("%w: event format %s", ErrNotCloudEvent, format)
	case params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8"):
		return events.Event{}, fmt.Errorf("%w: charset %s", ErrMalformed, params["charset"])
	}
	members, err := object(raw)
	if err != nil {
		return events.Event{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	text, isText := members["data"]
	encoded, isBytes := members["data_base64"]
	if isText && isBytes {
		return events.Event{}, fmt.Errorf("%w: both data and data_base64", ErrMalformed)
	}
	delete(members, "data")
	delete(members, "data_base64")
	values := make(map[string]string, len(members))
	for name, value := range members {
		s, present, err := canonical(value)
		if err != nil || name != strings.ToLower(name) {
			return events.Event{}, fmt.Errorf("%w: member %q: %w", ErrMalformed, name, errors.Join(errValue, err))
		}
		if present {
			values[name] = s
		}
	}
	data := []byte(text)
	switch {
	case isBytes:
		if data, err = fromBase64(encoded); err != nil {
			return events.Event{}, fmt.Errorf("%w: data_base64: %w", ErrMalformed, err)
		}
	case isText && !isJSON(values["datacontenttype"]):
		// Data of another type is a JSON string that holds it; anything else is
		// JSON all the same.
		if s, ok := unquote(text); ok {
			data = []byte(s)
		}
	}
	return assemble(values, data)
}

var errValue = errors.New("not a lower case name with a string, boolean or 32-bit integer")

// object splits a JSON object into its members. encoding/json would let the
// last of two members of one name win, and readers must not differ in which.
func object(raw []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.Join(errors.New("no JSON object"), err)
	}
	members := make(map[string]json.RawMessage)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("member %q twice", name)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the JSON object")
	}
	return members, nil
}

// canonical is the canonical string of an attribute's JSON value; null is the
// same as absent.
func canonical(raw json.RawMessage) (s string, present bool, err error) {
	switch text := string(raw); {
	case text == "null":
		return "", false, nil
	case text == "true" || text == "false":
		return text, true, nil
	case text[0] == '"':
		s, ok := unquote(raw)
		if !ok {
			return "", false, errValue
		}
		return s, true, nil
	default:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return "", false, err
		}
		return strconv.FormatInt(n, 10), true, nil
	}
}

func unquote(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

func fromBase64(raw json.RawMessage) ([]byte, error) {
	s, ok := unquote(raw)
	if !ok {
		return nil, errors.New("not a string")
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// isJSON reports whether data of this type stands as a JSON value in the JSON
// format. No type means JSON.
func isJSON(kind string) bool {
	if kind == "" {
		return true
	}
	media, _, err := mime.ParseMediaType(kind)
	if err != nil {
		return false
	}
	_, subtype, _ := strings.Cut(media, "/")
	return subtype == "json" || strings.HasSuffix(subtype, "+json")
}

// encodeStructured writes the JSON format. Members come sorted, JSON data is
// written anew without white space, other data as base64.
func encodeStructured(values map[string]string, data []byte) ([]byte, error) {
	members := make(map[string]any, len(values)+1)
	for name, value := range values {
		members[name] = value
	}
	switch {
	case len(data) == 0:
	case isJSON(values["datacontenttype"]) && json.Valid(data):
		members["data"] = json.RawMessage(data)
	default:
		members["data_base64"] = data
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(members); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
