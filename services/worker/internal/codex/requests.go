package codex

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	jsonv2 "github.com/go-json-experiment/json"
)

// ErrAnswered is a second answer to one server request.
var ErrAnswered = errors.New("codex: server request already answered")

// RequestKind says what a server request is about.
type RequestKind int

// The requests that Codex 0.169 makes. Those of RequestUnknown are answered with
// -32601 before any handler sees them.
const (
	RequestUnknown RequestKind = iota
	// RequestCommand asks to run a command: Approval is set.
	RequestCommand
	// RequestFileChange asks to write files: Approval is set. The diff is in the
	// item/started before it.
	RequestFileChange
	// RequestPermissions asks for more than the profile grants.
	RequestPermissions
	// RequestUserInput is a question of the model to the user.
	RequestUserInput
	// RequestElicitation is a question of an MCP server to the user.
	RequestElicitation
	// RequestToolCall calls a tool of the client; the gateway has none.
	RequestToolCall
)

func requestKind(method string) RequestKind {
	switch method {
	case "item/commandExecution/requestApproval":
		return RequestCommand
	case "item/fileChange/requestApproval":
		return RequestFileChange
	case "item/permissions/requestApproval":
		return RequestPermissions
	case "item/tool/requestUserInput":
		return RequestUserInput
	case "mcpServer/elicitation/request":
		return RequestElicitation
	case "item/tool/call":
		return RequestToolCall
	}
	// account/chatgptAuthTokens/refresh, attestation/generate, currentTime/read
	// and the two approvals of protocol v1 are never sent to a client that
	// declares what Initialize does; an error is the right answer to them too.
	return RequestUnknown
}

// Approval is what a command or file change asks for.
type Approval struct {
	ThreadID string `json:"threadId"`
	TurnID   string `json:"turnId"`
	ItemID   string `json:"itemId"`
	// Command and Cwd are of a command only.
	Command string `json:"command"`
	Cwd     string `json:"cwd"`
	// Reason is the model's own justification: hostile text.
	Reason string `json:"reason"`
}

// Decision answers an approval.
type Decision string

// The decisions a user can make.
const (
	// DecisionAccept runs it. An accepted escalation writes anywhere the process
	// may, though paths the profile denies stay unreadable.
	DecisionAccept Decision = "accept"
	// DecisionAcceptForSession also stops asking for the same command.
	DecisionAcceptForSession Decision = "acceptForSession"
	// DecisionDecline lets the turn go on without it.
	DecisionDecline Decision = "decline"
	// DecisionCancel also interrupts the turn.
	DecisionCancel Decision = "cancel"
)

// ServerRequest is a request Codex makes. Codex waits for the answer without a
// time limit; a serverRequest/resolved notification says that it waits no more.
type ServerRequest struct {
	// ID is Codex's own, a number from 0 per process.
	ID       json.RawMessage
	Method   string
	Params   json.RawMessage
	Kind     RequestKind
	Approval Approval

	client   *Client
	answered atomic.Bool
}

func newServerRequest(c *Client, m *message) *ServerRequest {
	r := &ServerRequest{ID: json.RawMessage(m.ID), Method: m.Method, Params: json.RawMessage(m.Params), Kind: requestKind(m.Method), client: c}
	if len(r.Params) == 0 {
		return r
	}
	if err := jsonv2.Unmarshal(r.Params, &r.Approval, lenient); err != nil {
		// Not the shape this version knows: refused like an unknown method rather
		// than shown half-read to whoever decides.
		r.Kind, r.Approval = RequestUnknown, Approval{}
	}
	return r
}

// Decide answers a RequestCommand or RequestFileChange.
func (r *ServerRequest) Decide(ctx context.Context, d Decision) error {
	return r.Reply(ctx, struct {
		Decision Decision `json:"decision"`
	}{d})
}

// Reply answers with a result. The first answer counts; another is ErrAnswered.
func (r *ServerRequest) Reply(ctx context.Context, result any) error {
	return r.send(ctx, outResult{ID: r.ID, Result: result})
}

// ReplyError answers with a JSON-RPC error.
func (r *ServerRequest) ReplyError(ctx context.Context, code int, message string) error {
	return r.send(ctx, outError{ID: r.ID, Error: RPCError{Code: code, Message: message}})
}

// Decline refuses in the way that lets the turn go on.
func (r *ServerRequest) Decline(ctx context.Context) error {
	switch r.Kind {
	case RequestCommand, RequestFileChange:
		return r.Decide(ctx, DecisionDecline)
	case RequestPermissions:
		return r.Reply(ctx, map[string]any{"permissions": map[string]any{}, "scope": "turn"})
	case RequestElicitation:
		return r.Reply(ctx, map[string]any{"action": "decline"})
	case RequestToolCall:
		return r.Reply(ctx, map[string]any{
			"success":      false,
			"contentItems": []any{map[string]any{"type": "inputText", "text": "There is no such tool."}},
		})
	case RequestUserInput, RequestUnknown:
		return r.ReplyError(ctx, -32601, "not supported")
	}
	return r.ReplyError(ctx, -32601, "not supported")
}

func (r *ServerRequest) send(ctx context.Context, v any) error {
	if r.answered.Swap(true) {
		return ErrAnswered
	}
	line, err := encodeLine(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.client.opt.CallTimeout)
	defer cancel()
	if err := r.client.write(ctx, line); err != nil {
		return fmt.Errorf("codex: answer %s: %w", r.Method, err)
	}
	return nil
}
