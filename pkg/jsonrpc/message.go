package jsonrpc

import (
	"encoding/json"
	"strconv"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"codexgateway.dev/pkg/errs"
)

// Version is the only value the jsonrpc member may have.
const Version = "2.0"

// ID is the raw JSON of a request's id, byte for byte as the peer wrote it: a
// string, a number or null. Empty means that there is none: a notification.
type ID string

// Null is the id of an answer to something whose id is not known.
const Null ID = "null"

// IntID is a client's numeric id.
func IntID(n int64) ID { return ID(strconv.FormatInt(n, 10)) }

// Request is one call or notification. A request read from a peer either has a
// method or an Err that says why it is none.
type Request struct {
	ID     ID
	Method string
	// Params is raw JSON: an object, an array, null, or nil when absent.
	Params json.RawMessage
	// Err is set on a member that is not a valid request. It is answered with
	// the id null.
	Err *errs.Error
}

// Notification reports whether the request wants no answer.
func (r *Request) Notification() bool { return r.ID == "" && r.Err == nil }

// Response is one answer.
type Response struct {
	ID ID
	// Result is raw JSON; ignored when Error is set, null when nil.
	Result json.RawMessage
	Error  *Error
}

// Error is the error object of an answer.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// append adds the encoded response to b: an error or a result, never both.
func (r *Response) append(b []byte) []byte {
	id := r.ID
	if id == "" {
		id = Null
	}
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	b = append(b, id...)
	if r.Error != nil {
		b = append(b, `,"error":{"code":`...)
		b = strconv.AppendInt(b, int64(r.Error.Code), 10)
		b = append(b, `,"message":`...)
		b = appendString(b, r.Error.Message)
		if len(r.Error.Data) > 0 {
			b = append(b, `,"data":`...)
			b = append(b, r.Error.Data...)
		}
		return append(b, "}}"...)
	}
	b = append(b, `,"result":`...)
	if len(r.Result) == 0 {
		b = append(b, "null"...)
	} else {
		b = append(b, r.Result...)
	}
	return append(b, '}')
}

// Encode returns the response as one frame. Result and Error.Data must be valid JSON.
func (r *Response) Encode() []byte { return r.append(nil) }

// MarshalJSON implements json.Marshaler as Encode does.
func (r *Response) MarshalJSON() ([]byte, error) { return r.append(nil), nil }

// appendString adds a JSON string; invalid UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	// The error only reports that invalid UTF-8 was replaced.
	out, _ := jsontext.AppendQuote(b, s)
	return out
}

// marshal encodes results, params and data. Fields marked omitempty vanish as
// with encoding/json, for which the API's types are tagged, but a nil slice is
// [] and a nil map {}: clients never meet null for a list.
func marshal(v any) (json.RawMessage, error) {
	return jsonv2.Marshal(v, jsonv1.OmitEmptyWithLegacySemantics(true), jsonv2.Deterministic(true))
}
