package edge_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"codexgateway.dev/pkg/errs"
)

// calls are the methods that were called, by id.
type calls map[string][]string

// members are the messages of a frame.
func members(frame []byte) []json.RawMessage {
	var all []json.RawMessage
	if json.Unmarshal(frame, &all) == nil {
		return all
	}
	return []json.RawMessage{frame}
}

// add notes the calls of a frame; what is no call has no result.
func (c calls) add(frame []byte) {
	for _, raw := range members(frame) {
		var call struct {
			ID     json.RawMessage
			Method string
		}
		if json.Unmarshal(raw, &call) == nil && call.ID != nil {
			c[string(call.ID)] = append(c[string(call.ID)], call.Method)
		}
	}
}

// rpcAnswer checks one answer: a result is one that its method has, an error is
// in the registry. failure is the error's row.
func (c *contract) rpcAnswer(raw json.RawMessage, called calls) (failure *errs.Row, err error) {
	var a struct {
		ID     json.RawMessage
		Result json.RawMessage
		Error  *struct {
			Code    int
			Message string
			Data    struct {
				Code      errs.Code
				Retryable *bool
				RequestID string `json:"request_id"`
			}
		}
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, err
	}
	if a.Error != nil {
		row := errs.Lookup(a.Error.Data.Code)
		if a.Error.Data.Code != row.Code || a.Error.Code != row.RPC || a.Error.Message == "" ||
			a.Error.Data.Retryable == nil || *a.Error.Data.Retryable != row.Retryable || a.Error.Data.RequestID == "" {
			return nil, fmt.Errorf("error %s is not as the registry says", raw)
		}
		return &row, nil
	}
	err = fmt.Errorf("%s answers no call", raw)
	for _, method := range called[cmp.Or(string(a.ID), "null")] {
		schema, ok := c.results[method]
		if !ok {
			continue // a method that there is not has errors only
		}
		var v any
		if err := json.Unmarshal(a.Result, &v); err != nil {
			return nil, err
		}
		if err = schema.Validate(v); err == nil {
			return nil, nil
		}
	}
	return nil, err
}

// socketFrame checks what came on a WebSocket.
func (c *contract) socketFrame(frame []byte, called calls) error {
	for _, raw := range members(frame) {
		var m struct {
			ID            json.RawMessage
			Method        string
			Result, Error json.RawMessage
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		names := []string{m.Method}
		switch {
		case m.Method != "":
		case m.Error != nil:
			names = []string{"error"}
		default:
			names = nil
			for _, method := range called[cmp.Or(string(m.ID), "null")] {
				names = append(names, method+".answer")
			}
		}
		if m.Method == "" {
			if _, err := c.rpcAnswer(raw, called); err != nil {
				return err
			}
		}
		if err := c.message(raw, names...); err != nil {
			return err
		}
	}
	return nil
}

// message checks that something is one of the messages.
func (c *contract) message(raw json.RawMessage, names ...string) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	err := fmt.Errorf("%s is none of %v", raw, names)
	for _, name := range names {
		schema, ok := c.messages[name]
		if !ok {
			continue
		}
		if err = schema.Validate(v); err == nil {
			return nil
		}
	}
	return err
}

// events checks the whole lines of a stream.
func (c *contract) events(mediaType string, body []byte) error {
	for line := range strings.Lines(string(body)) {
		line, ended := strings.CutSuffix(line, "\n")
		if mediaType == "text/event-stream" {
			data, ok := strings.CutPrefix(line, "data: ")
			if line, ended = data, ended && ok; !ok {
				continue
			}
		}
		if !ended {
			continue
		}
		if err := c.message(json.RawMessage(line), "event"); err != nil {
			return err
		}
	}
	return nil
}
