package codex

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// errMalformed is a line that is not a message.
var errMalformed = errors.New("codex: malformed line")

// lenient accepts a repeated member (the last one wins) and refuses what no
// store could keep, invalid UTF-8 among it.
var lenient = jsonv2.JoinOptions(jsontext.AllowDuplicateNames(true))

// message is one line from Codex: a response (id, no method), a notification
// (method, no id) or a request of the server (both).
type message struct {
	ID          jsontext.Value `json:"id"`
	Method      string         `json:"method"`
	Params      jsontext.Value `json:"params"`
	Result      jsontext.Value `json:"result"`
	Error       *RPCError      `json:"error"`
	EmittedAtMs int64          `json:"emittedAtMs"`
}

// decodeLine parses one line without its newline. The message shares no memory
// with it.
func decodeLine(line []byte) (message, error) {
	var m message
	if err := jsonv2.Unmarshal(line, &m, lenient); err != nil {
		return message{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if bytes.Equal(m.ID, []byte("null")) {
		m.ID = nil
	}
	if m.Method == "" && m.ID == nil {
		return message{}, fmt.Errorf("%w: neither id nor method", errMalformed)
	}
	return m, nil
}

// isResponse tells an answer to a request of ours from a message of Codex.
func (m *message) isResponse() bool { return m.Method == "" }

// callID is the id of the request that a response answers; ours are numbers.
func (m *message) callID() (int64, bool) {
	id, err := strconv.ParseInt(string(m.ID), 10, 64)
	return id, err == nil
}

// address is what the params of a notification say about where it belongs.
type address struct {
	ThreadID string `json:"threadId"`
	TurnID   string `json:"turnId"`
	ItemID   string `json:"itemId"`
	Turn     struct {
		ID         string `json:"id"`
		RootTurnID string `json:"rootTurnId"`
	} `json:"turn"`
	Thread struct {
		ID string `json:"id"`
	} `json:"thread"`
	Item struct {
		ID string `json:"id"`
	} `json:"item"`
}

// addressOf reads the ids out of params; what is not there or has another type
// stays empty, since unknown notifications are relayed all the same.
func addressOf(params json.RawMessage) address {
	var a address
	if len(params) == 0 || params[0] != '{' {
		return a
	}
	if err := jsonv2.Unmarshal(params, &a, lenient); err != nil {
		return address{}
	}
	if a.TurnID == "" {
		a.TurnID = a.Turn.ID
	}
	if a.ThreadID == "" {
		a.ThreadID = a.Thread.ID
	}
	if a.ItemID == "" {
		a.ItemID = a.Item.ID
	}
	return a
}

// encodeLine writes a message to Codex as one line. Members come in a fixed
// order, so that the same call is the same bytes.
func encodeLine(v any) ([]byte, error) {
	b, err := jsonv2.Marshal(v, jsonv2.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("codex: encode: %w", err)
	}
	return append(b, '\n'), nil
}

// outRequest, outNotification, outResult and outError are the four lines that
// Codex accepts. It wants no "jsonrpc" member.
type (
	outRequest struct {
		Method string `json:"method"`
		ID     int64  `json:"id"`
		Params any    `json:"params"`
	}
	outNotification struct {
		Method string `json:"method"`
	}
	outResult struct {
		ID     json.RawMessage `json:"id"`
		Result any             `json:"result"`
	}
	outError struct {
		ID    json.RawMessage `json:"id"`
		Error RPCError        `json:"error"`
	}
)
