package execjson

import (
	"encoding/json"
	"strings"
	"unicode"
)

// Types of items that codex exec shows only once they are complete.
const (
	typeMessage   = "agentMessage"
	typeReasoning = "reasoning"
)

// shown is an item in codex exec's form, without its id; nil: codex exec does
// not show it.
func shown(in *threadItem) *item {
	switch in.Type {
	case typeMessage:
		return &item{Type: "agent_message", Members: textItem{in.Text}}
	case typeReasoning:
		text := strings.Join(in.Summary, "\n")
		if strings.TrimSpace(text) == "" {
			return nil
		}
		return &item{Type: "reasoning", Members: textItem{text}}
	case "commandExecution":
		return &item{Type: "command_execution", Members: commandItem{
			Command: in.Command, Output: in.AggregatedOutput, ExitCode: in.ExitCode, Status: snake(in.Status),
		}}
	case "fileChange":
		return &item{Type: "file_change", Members: fileChanges(in)}
	case "mcpToolCall":
		return &item{Type: "mcp_tool_call", Members: toolCall(in)}
	case "webSearch":
		return &item{Type: "web_search", Members: search(in)}
	case "collabAgentToolCall":
		if members, ok := agentCall(in); ok {
			return &item{Type: "collab_tool_call", Members: members}
		}
	}
	return nil
}

func fileChanges(in *threadItem) fileItem {
	out := fileItem{Changes: make([]fileChange, len(in.Changes)), Status: snake(in.Status)}
	for i, c := range in.Changes {
		out.Changes[i] = fileChange{Path: c.Path, Kind: c.Kind.Type}
	}
	if out.Status == "declined" {
		out.Status = "failed" // the only end but completed that a change has there
	}
	return out
}

func toolCall(in *threadItem) toolItem {
	out := toolItem{Server: in.Server, Tool: in.Tool, Arguments: in.Arguments, Error: in.Error, Status: snake(in.Status)}
	if in.Result != nil {
		out.Result = &toolResult{Content: in.Result.Content, Meta: in.Result.Meta, Structured: in.Result.Structured}
		if out.Result.Content == nil {
			out.Result.Content = []json.RawMessage{}
		}
		if string(out.Result.Meta) == "null" {
			out.Result.Meta = nil
		}
	}
	return out
}

func search(in *threadItem) searchItem {
	out := searchItem{Query: in.Query, Action: searchAction{Type: "other"}, Results: in.Results}
	if in.Action != nil {
		out.Action = *in.Action
		out.Action.Type = snake(in.Action.Type)
	}
	return out
}

// agentCall is not ok for what codex exec has no word for.
func agentCall(in *threadItem) (_ agentItem, ok bool) {
	tool := snake(in.Tool)
	switch tool {
	case "spawn_agent", "send_input", "wait", "close_agent":
	case "resume_agent":
		tool = "wait"
	default:
		return agentItem{}, false
	}
	if in.Status == "interrupted" {
		return agentItem{}, false
	}
	out := agentItem{
		Tool: tool, Sender: in.SenderThreadID, Receivers: in.Receivers, Prompt: in.Prompt,
		States: make(map[string]agentState, len(in.AgentsStates)), Status: snake(in.Status),
	}
	if out.Receivers == nil {
		out.Receivers = []string{}
	}
	for id, s := range in.AgentsStates {
		out.States[id] = agentState{Status: snake(s.Status), Message: s.Message}
	}
	return out, true
}

// snake is a word of the app server's as codex exec spells it: inProgress is
// in_progress.
func snake(word string) string {
	var b strings.Builder
	for _, r := range word {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
