package execjson

import "encoding/json"

// event is what is read of a stored event.
type event struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// notification is the data of a codex event.
type notification struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// params is what is read of a notification, whatever its method.
type params struct {
	ThreadID string `json:"threadId"`
	// Item is of item/started and item/completed, Turn of turn/started and
	// turn/completed, Plan of turn/plan/updated, the rest of the methods their
	// names say.
	Item       *threadItem `json:"item"`
	Turn       *turn       `json:"turn"`
	Plan       []planStep  `json:"plan"`
	TokenUsage *tokenUsage `json:"tokenUsage"`
	Error      *turnError  `json:"error"`
	Message    string      `json:"message"`
	Summary    string      `json:"summary"`
	Details    string      `json:"details"`
	FromModel  string      `json:"fromModel"`
	ToModel    string      `json:"toModel"`
	Reason     string      `json:"reason"`
	// Omitted is the size of params that were too large for the log; then they
	// have no other member but ids.
	Omitted int64 `json:"omitted_bytes"`
}

type turn struct {
	Status string       `json:"status"`
	Items  []threadItem `json:"items"`
	Error  *turnError   `json:"error"`
}

type turnError struct {
	Message string `json:"message"`
	Details string `json:"additionalDetails"`
}

// text is the error as codex exec words it.
func (e *turnError) text() string { return detailed(e.Message, e.Details) }

// detailed is how codex exec adds details to a sentence.
func detailed(text, details string) string {
	if details == "" {
		return text
	}
	return text + " (" + details + ")"
}

type planStep struct {
	Step   string `json:"step"`
	Status string `json:"status"`
}

type tokenUsage struct {
	Total struct {
		Input      int64 `json:"inputTokens"`
		Cached     int64 `json:"cachedInputTokens"`
		CacheWrite int64 `json:"cacheWriteInputTokens"`
		Output     int64 `json:"outputTokens"`
		Reasoning  int64 `json:"reasoningOutputTokens"`
	} `json:"total"`
}

// threadItem is an item of any type: each has its own of these members.
type threadItem struct {
	Type             string                `json:"type"`
	ID               string                `json:"id"`
	Text             string                `json:"text"`
	Summary          []string              `json:"summary"`
	Command          string                `json:"command"`
	AggregatedOutput string                `json:"aggregatedOutput"`
	ExitCode         *int64                `json:"exitCode"`
	Status           string                `json:"status"`
	Changes          []patchChange         `json:"changes"`
	Server           string                `json:"server"`
	Tool             string                `json:"tool"`
	Arguments        json.RawMessage       `json:"arguments"`
	Result           *mcpResult            `json:"result"`
	Error            *failure              `json:"error"`
	SenderThreadID   string                `json:"senderThreadId"`
	Receivers        []string              `json:"receiverThreadIds"`
	Prompt           *string               `json:"prompt"`
	AgentsStates     map[string]agentState `json:"agentsStates"`
	Query            string                `json:"query"`
	Action           *searchAction         `json:"action"`
	Results          []json.RawMessage     `json:"results"`
}

type patchChange struct {
	Path string `json:"path"`
	Kind struct {
		Type string `json:"type"`
	} `json:"kind"`
}

type mcpResult struct {
	Content    []json.RawMessage `json:"content"`
	Meta       json.RawMessage   `json:"_meta"`
	Structured json.RawMessage   `json:"structuredContent"`
}
