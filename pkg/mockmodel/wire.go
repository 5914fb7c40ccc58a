package mockmodel

// The shapes below are the Responses API's stream events, fields in the order
// the recordings have them. Pointers are fields that only some events carry.

type event struct {
	Type           string        `json:"type"`
	SequenceNumber int           `json:"sequence_number"`
	Response       *responseBody `json:"response,omitempty"`
	ItemID         string        `json:"item_id,omitempty"`
	OutputIndex    *int          `json:"output_index,omitempty"`
	ContentIndex   *int          `json:"content_index,omitempty"`
	SummaryIndex   *int          `json:"summary_index,omitempty"`
	Item           any           `json:"item,omitempty"`
	Part           any           `json:"part,omitempty"`
	Delta          *string       `json:"delta,omitempty"`
	Text           *string       `json:"text,omitempty"`
	Arguments      *string       `json:"arguments,omitempty"`
	Input          *string       `json:"input,omitempty"`
}

type responseBody struct {
	ID        string         `json:"id"`
	Object    string         `json:"object"`
	CreatedAt int64          `json:"created_at"`
	Model     string         `json:"model"`
	Status    string         `json:"status"`
	Output    []any          `json:"output"`
	Usage     *usageBody     `json:"usage"`
	Error     *responseError `json:"error"`
}

type responseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type usageBody struct {
	InputTokens        int                `json:"input_tokens"`
	InputTokensDetails inputTokensDetails `json:"input_tokens_details"`
	OutputTokens       int                `json:"output_tokens"`
	OutputDetails      outputDetails      `json:"output_tokens_details"`
	TotalTokens        int                `json:"total_tokens"`
}

type inputTokensDetails struct {
	CachedTokens int `json:"cached_tokens"`
}

type outputDetails struct {
	ReasoningTokens int `json:"reasoning_tokens"`
}

type messageItem struct {
	ID      string     `json:"id"`
	Type    string     `json:"type"`
	Role    string     `json:"role"`
	Status  string     `json:"status"`
	Content []textPart `json:"content"`
}

type textPart struct {
	Type        string   `json:"type"`
	Text        string   `json:"text"`
	Annotations []string `json:"annotations"`
}

type summaryPart struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type reasoningItem struct {
	ID               string        `json:"id"`
	Type             string        `json:"type"`
	Summary          []summaryPart `json:"summary"`
	EncryptedContent *string       `json:"encrypted_content"`
}

type functionCallItem struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Status    string `json:"status"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type customCallItem struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Status string `json:"status"`
	CallID string `json:"call_id"`
	Name   string `json:"name"`
	Input  string `json:"input"`
}

// execArgs are the arguments of exec_command.
type execArgs struct {
	Cmd string `json:"cmd"`
	// YieldTimeMS is how long Codex waits for the command. It takes 10 s without,
	// and 30 s at most.
	YieldTimeMS        int64  `json:"yield_time_ms"`
	SandboxPermissions string `json:"sandbox_permissions,omitempty"`
	Justification      string `json:"justification,omitempty"`
}

// apiError is the body of an answer that is not a stream.
type apiError struct {
	Error apiErrorBody `json:"error"`
}

type apiErrorBody struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}
