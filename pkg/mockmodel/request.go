package mockmodel

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// toolForm is how calls must be written for the tools a request offers.
type toolForm int

const (
	// formFunctions: exec_command is a function, apply_patch a freeform tool.
	formFunctions toolForm = iota
	// formShellPatch: exec_command only; patches go through the shell, where
	// Codex intercepts apply_patch.
	formShellPatch
	// formCode: one freeform tool "exec" that runs JavaScript.
	formCode
)

// request is the part of a request's body that the mock looks at.
type request struct {
	model    string
	cacheKey string
	prompt   string
	// message is the ordinal of the prompt among the input's items, outputs the
	// number of call outputs after it, items the length of the input.
	message, outputs, items int
	form                    toolForm
}

type wireRequest struct {
	Model          string          `json:"model"`
	Stream         bool            `json:"stream"`
	PromptCacheKey string          `json:"prompt_cache_key"`
	Input          json.RawMessage `json:"input"`
	Tools          []struct {
		Type string `json:"type"`
		Name string `json:"name"`
	} `json:"tools"`
}

type wireItem struct {
	Type    string          `json:"type"`
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// decode reads a request's body.
func decode(body []byte) (request, error) {
	var w wireRequest
	if err := json.Unmarshal(body, &w); err != nil {
		return request{}, fmt.Errorf("mockmodel: decode request: %w", err)
	}
	if !w.Stream {
		return request{}, errors.New("mockmodel: only stream:true is served")
	}
	r := request{model: w.Model, cacheKey: w.PromptCacheKey, form: formShellPatch}
	for _, t := range w.Tools {
		if t.Name == "apply_patch" && t.Type == "custom" {
			r.form = formFunctions
		}
	}
	if isString(w.Input) {
		r.prompt, r.items = contentText(w.Input), 1
		return r, nil
	}
	var items []wireItem
	if err := json.Unmarshal(w.Input, &items); err != nil {
		return request{}, fmt.Errorf("mockmodel: decode input: %w", err)
	}
	r.items = len(items)
	for i, it := range items {
		switch {
		case it.Role == "user":
			if t := contentText(it.Content); !injected(t) {
				r.prompt, r.message, r.outputs = t, i, 0
			}
		case it.Type == "additional_tools":
			r.form = formCode
		case strings.HasSuffix(it.Type, "_call_output"):
			r.outputs++
		}
	}
	return r, nil
}

// injected reports whether a user message is one that Codex writes itself
// around the prompt; taking it for the script would answer the wrong text.
func injected(text string) bool {
	return strings.HasPrefix(text, "<environment_context>") || strings.HasPrefix(text, "<turn_aborted>") ||
		strings.HasPrefix(text, "<user_instructions>") || strings.HasPrefix(text, "# AGENTS.md instructions")
}

// isString reports whether raw is a JSON string, without a pass over it: an
// input is 40 KB and more.
func isString(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }

// contentText is the text of a message's content: a string or parts.
func contentText(raw json.RawMessage) string {
	if isString(raw) {
		var s string
		_ = json.Unmarshal(raw, &s) // a RawMessage is valid JSON already
		return s
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		return ""
	}
	var texts []string
	for _, p := range parts {
		if p.Text != "" {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "\n")
}
