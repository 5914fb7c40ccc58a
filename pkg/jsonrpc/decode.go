package jsonrpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"codexgateway.dev/pkg/errs"
)

// Defaults of [Limits].
const (
	DefaultMaxBatch = 50
	DefaultMaxDepth = 64
)

// Limits bound one frame. Its size in bytes is the transport's business.
type Limits struct {
	// MaxBatch is the most members of a batch; 0 means DefaultMaxBatch.
	MaxBatch int
	// MaxDepth is how deep arrays and objects may nest, the frame's own
	// brackets included; 0 means DefaultMaxDepth.
	MaxDepth int
}

func (l Limits) orDefaults() Limits {
	if l.MaxBatch <= 0 {
		l.MaxBatch = DefaultMaxBatch
	}
	if l.MaxDepth <= 0 {
		l.MaxDepth = DefaultMaxDepth
	}
	return l
}

// Frame is what one HTTP body or WebSocket message holds.
type Frame struct {
	// Batch is true when the requests came in an array, even in an array of one.
	Batch bool
	// Requests are in the order of the frame, at least one.
	Requests []Request
}

// maxMembers bounds the envelope of one request: the specification knows four
// members, and a set of a million invented ones must not cost memory.
const maxMembers = 16

// Decode reads one frame. Its requests alias data, which must not change while
// they are used. The error is for the frame
// as a whole: parse_error when it is not JSON in UTF-8, invalid_request when it
// is too deep, an empty or too long batch, or no object. A bad member of a
// batch has its own error in Request.Err.
func Decode(data []byte, lim Limits) (Frame, *errs.Error) {
	lim = lim.orDefaults()
	// Duplicate names are looked for later, where it is known whom to blame:
	// the request or its params.
	switch value, err := readOne(data, jsontext.AllowDuplicateNames(true)); {
	case err != nil:
		return Frame{}, errs.Wrap(errs.ParseError, "", err)
	case depth(value) > lim.MaxDepth:
		return Frame{}, errs.Newf(errs.InvalidRequest, "The request is nested deeper than %d levels.", lim.MaxDepth)
	case value.Kind() == jsontext.KindBeginObject:
		return Frame{Requests: []Request{decodeRequest(value)}}, nil
	case value.Kind() == jsontext.KindBeginArray:
		return decodeBatch(value, lim)
	default:
		return Frame{}, errs.New(errs.InvalidRequest, "A request is a JSON object or an array of them.")
	}
}

// readOne returns the one JSON value of data.
func readOne(data []byte, opts ...jsontext.Options) (jsontext.Value, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(data), opts...)
	value, err := dec.ReadValue()
	if err != nil {
		return nil, fmt.Errorf("jsonrpc: read: %w", err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("jsonrpc: read: data after the value")
	}
	return value, nil
}

// depth is the deepest nesting of a valid JSON value.
func depth(value []byte) int {
	deepest, open, inString := 0, 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			open++
			deepest = max(deepest, open)
		case c == '}' || c == ']':
			open--
		}
	}
	return deepest
}

func decodeBatch(value jsontext.Value, lim Limits) (Frame, *errs.Error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true))
	if _, err := dec.ReadToken(); err != nil {
		return Frame{}, errs.Wrap(errs.ParseError, "", err)
	}
	if dec.PeekKind() == jsontext.KindEndArray {
		return Frame{}, errs.New(errs.InvalidRequest, "A batch holds at least one request.")
	}
	frame := Frame{Batch: true}
	for dec.PeekKind() != jsontext.KindEndArray {
		if len(frame.Requests) == lim.MaxBatch {
			return Frame{}, errs.Newf(errs.InvalidRequest, "A batch holds at most %d requests.", lim.MaxBatch)
		}
		member, err := next(dec, value)
		if err != nil {
			return Frame{}, errs.Wrap(errs.ParseError, "", err)
		}
		frame.Requests = append(frame.Requests, decodeRequest(member))
	}
	return frame, nil
}

// next reads the decoder's next value as a part of whole, the decoder's entire
// input, so that a large params is not copied.
func next(dec *jsontext.Decoder, whole jsontext.Value) (jsontext.Value, error) {
	v, err := dec.ReadValue()
	if err != nil {
		return nil, fmt.Errorf("jsonrpc: read: %w", err)
	}
	end := dec.InputOffset()
	return whole[end-int64(len(v)) : end : end], nil
}

// decodeRequest reads one member. Members of the envelope that the
// specification does not know are ignored.
func decodeRequest(value jsontext.Value) Request {
	if value.Kind() != jsontext.KindBeginObject {
		return invalid("A request is a JSON object.")
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true))
	if _, err := dec.ReadToken(); err != nil {
		return invalid("")
	}
	seen := make(map[string]jsontext.Value, 4)
	for dec.PeekKind() != jsontext.KindEndObject {
		token, err := dec.ReadToken()
		if err != nil {
			return invalid("")
		}
		name := token.String()
		member, err := next(dec, value)
		if err != nil {
			return invalid("")
		}
		if _, twice := seen[name]; twice {
			return invalid("A member of the request is given twice.")
		}
		if len(seen) == maxMembers {
			return invalid("The request has too many members.")
		}
		seen[name] = member
	}
	return requestOf(seen)
}

// requestOf checks the members of the envelope.
func requestOf(seen map[string]jsontext.Value) Request {
	var req Request
	if text, ok := stringOf(seen["jsonrpc"]); !ok || text != Version {
		return invalid("The member jsonrpc must be \"2.0\".")
	}
	method, ok := stringOf(seen["method"])
	if !ok || method == "" {
		return invalid("The member method must be a string that is not empty.")
	}
	req.Method = method
	if id, given := seen["id"]; given {
		if k := id.Kind(); k != jsontext.KindString && k != jsontext.KindNumber && k != jsontext.KindNull {
			return invalid("The member id must be a string, a number or null.")
		}
		req.ID = ID(id)
	}
	if params, given := seen["params"]; given {
		if k := params.Kind(); k != jsontext.KindBeginObject && k != jsontext.KindBeginArray && k != jsontext.KindNull {
			return invalid("The member params must be an object or an array.")
		}
		req.Params = json.RawMessage(params)
	}
	return req
}

func invalid(public string) Request {
	return Request{Err: errs.New(errs.InvalidRequest, public)}
}

// stringOf returns the text of a JSON string.
func stringOf(v jsontext.Value) (string, bool) {
	if v.Kind() != jsontext.KindString {
		return "", false
	}
	text, err := jsontext.AppendUnquote(nil, v)
	return string(text), err == nil
}
