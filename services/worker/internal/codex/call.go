package codex

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	jsonv2 "github.com/go-json-experiment/json"
)

// call is one request that waits for its answer.
type call struct {
	// onResult runs in the reader before the next line is read, so that what it
	// registers is there when the notifications that follow the answer arrive.
	onResult func(json.RawMessage) error
	answer   chan answer // buffered, written once
}

type answer struct {
	result json.RawMessage
	err    error
}

// do sends a request and waits for its answer, which it decodes into result
// unless that is nil. onResult may be nil.
func (c *Client) do(ctx context.Context, method string, params, result any, onResult func(json.RawMessage) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.opt.CallTimeout)
	defer cancel()
	raw, err := c.roundTrip(ctx, method, params, onResult)
	if err != nil {
		return fmt.Errorf("codex: %s: %w", method, err)
	}
	if result == nil {
		return nil
	}
	if err := jsonv2.Unmarshal(raw, result, lenient); err != nil {
		return fmt.Errorf("codex: %s: %w: result: %w", method, ErrProtocol, err)
	}
	return nil
}

func (c *Client) roundTrip(ctx context.Context, method string, params any, onResult func(json.RawMessage) error) (json.RawMessage, error) {
	id := c.nextID.Add(1)
	line, err := encodeLine(outRequest{Method: method, ID: id, Params: params})
	if err != nil {
		return nil, err
	}
	w := &call{onResult: onResult, answer: make(chan answer, 1)}
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return nil, c.endError()
	}
	c.calls[id] = w
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
	}()
	if err := c.write(ctx, line); err != nil {
		return nil, err
	}
	select {
	case a := <-w.answer:
		return a.result, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.ended:
		// The answer may have come in the same moment.
		select {
		case a := <-w.answer:
			return a.result, a.err
		default:
			return nil, c.endError()
		}
	}
}

// answer passes a response to its caller. One that nobody waits for belongs to
// a call whose context ended.
func (c *Client) answer(m *message) {
	id, ok := m.callID()
	if !ok {
		return
	}
	c.mu.Lock()
	w := c.calls[id]
	delete(c.calls, id)
	c.mu.Unlock()
	if w == nil {
		return
	}
	a := answer{result: json.RawMessage(m.Result)}
	if m.Error != nil {
		a = answer{err: m.Error}
	} else if w.onResult != nil {
		a.err = w.onResult(a.result)
	}
	w.answer <- a
}

// RPCError is Codex's answer to a request it refuses. Nearly every refusal has
// the code -32600; the errors of this package that it matches by errors.Is are
// told apart in failure.go.
type RPCError struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

var _ error = (*RPCError)(nil)

// Error implements error. The message may quote paths and ids: for logs only.
func (e *RPCError) Error() string { return fmt.Sprintf("rpc error %d: %s", e.Code, e.Message) }

// Is implements errors.Is for the refusals that callers act upon.
func (e *RPCError) Is(target error) bool {
	reason := refusalOf(e)
	return reason != nil && errors.Is(reason, target)
}
