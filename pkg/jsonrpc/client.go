package jsonrpc

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Message is one thing a server sent: an answer or a notification, never both.
type Message struct {
	Response     *Response
	Notification *Request
}

// EncodeCall encodes a call. params is marshalled as [Mux] marshals results;
// nil params are left out.
func EncodeCall(callID ID, method string, params any) ([]byte, error) {
	return encodeRequest(callID, method, params)
}

// EncodeNotification encodes a notification, by either side.
func EncodeNotification(method string, params any) ([]byte, error) {
	return encodeRequest("", method, params)
}

func encodeRequest(callID ID, method string, params any) ([]byte, error) {
	b := []byte(`{"jsonrpc":"2.0"`)
	if callID != "" {
		b = append(b, `,"id":`...)
		b = append(b, callID...)
	}
	b = append(b, `,"method":`...)
	b = appendString(b, method)
	if params != nil {
		raw, err := marshal(params)
		if err != nil {
			return nil, fmt.Errorf("jsonrpc: encode params of %s: %w", method, err)
		}
		b = append(b, `,"params":`...)
		b = append(b, raw...)
	}
	return append(b, '}'), nil
}

// wireMessage is everything a server may send. Members it does not know are
// ignored: the server may be newer than this client.
type wireMessage struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	Error   *Error          `json:"error"`
}

// DecodeMessages reads what a server sent: one message, or all of a batch.
func DecodeMessages(frame []byte) ([]Message, error) {
	value, err := readOne(frame)
	if err != nil {
		return nil, err
	}
	wire := make([]wireMessage, 1)
	if value.Kind() == jsontext.KindBeginArray {
		err = json.Unmarshal(value, &wire)
	} else {
		err = json.Unmarshal(value, &wire[0])
	}
	if err != nil {
		return nil, fmt.Errorf("jsonrpc: decode message: %w", err)
	}
	out := make([]Message, len(wire))
	for i := range wire {
		if out[i], err = wire[i].message(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (w *wireMessage) message() (Message, error) {
	switch {
	case w.JSONRPC != Version:
		return Message{}, fmt.Errorf("jsonrpc: decode message: jsonrpc is %q", w.JSONRPC)
	case w.Method != "":
		return Message{Notification: &Request{ID: ID(w.ID), Method: w.Method, Params: w.Params}}, nil
	case len(w.ID) == 0:
		return Message{}, errors.New("jsonrpc: decode message: neither id nor method")
	case (w.Error == nil) == (w.Result == nil):
		return Message{}, errors.New("jsonrpc: decode message: not exactly one of result and error")
	default:
		return Message{Response: &Response{ID: ID(w.ID), Result: w.Result, Error: w.Error}}, nil
	}
}

// Into decodes the result into v, or returns the answer's error as an
// *errs.Error. Unknown members of the result are ignored.
func (r *Response) Into(v any) error {
	if r.Error != nil {
		return r.Error.Err()
	}
	if err := json.Unmarshal(r.Result, v); err != nil {
		return fmt.Errorf("jsonrpc: decode result: %w", err)
	}
	return nil
}
