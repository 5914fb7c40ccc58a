package execjson

import (
	"bytes"
	"encoding/json"
)

// line is one line of output. Which members it has depends on its type.
type line struct {
	Type     string   `json:"type"`
	ThreadID string   `json:"thread_id,omitempty"`
	Item     *item    `json:"item,omitempty"`
	Usage    *usage   `json:"usage,omitempty"`
	Error    *failure `json:"error,omitempty"`
	Message  *string  `json:"message,omitempty"`
}

type failure struct {
	Message string `json:"message"`
}

// usage is the tokens of the thread so far, earlier turns included.
type usage struct {
	Input      int64 `json:"input_tokens"`
	Cached     int64 `json:"cached_input_tokens"`
	CacheWrite int64 `json:"cache_write_input_tokens"`
	Output     int64 `json:"output_tokens"`
	Reasoning  int64 `json:"reasoning_output_tokens"`
}

// item is an item as it is shown: its id and type, and the members of its type.
type item struct {
	ID      string
	Type    string
	Members any
}

// MarshalJSON puts the members beside the id, where codex exec has them.
func (i *item) MarshalJSON() ([]byte, error) {
	head, err := encode(struct {
		ID   string `json:"id"`
		Type string `json:"type"`
	}{i.ID, i.Type})
	if err != nil {
		return nil, err
	}
	members, err := encode(i.Members)
	if err != nil {
		return nil, err
	}
	return append(append(head[:len(head)-1], ','), members[1:]...), nil
}

// encode is v as one line of JSON without a newline. It is not made safe for
// HTML: codex exec prints <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Members of the items, by type.
type (
	textItem struct {
		Text string `json:"text"`
	}
	errorItem struct {
		Message string `json:"message"`
	}
	commandItem struct {
		Command  string `json:"command"`
		Output   string `json:"aggregated_output"`
		ExitCode *int64 `json:"exit_code"`
		Status   string `json:"status"`
	}
	fileItem struct {
		Changes []fileChange `json:"changes"`
		Status  string       `json:"status"`
	}
	fileChange struct {
		Path string `json:"path"`
		Kind string `json:"kind"`
	}
	toolItem struct {
		Server    string          `json:"server"`
		Tool      string          `json:"tool"`
		Arguments json.RawMessage `json:"arguments"`
		Result    *toolResult     `json:"result"`
		Error     *failure        `json:"error"`
		Status    string          `json:"status"`
	}
	toolResult struct {
		Content    []json.RawMessage `json:"content"`
		Meta       json.RawMessage   `json:"_meta,omitempty"`
		Structured json.RawMessage   `json:"structured_content"`
	}
	agentItem struct {
		Tool      string                `json:"tool"`
		Sender    string                `json:"sender_thread_id"`
		Receivers []string              `json:"receiver_thread_ids"`
		Prompt    *string               `json:"prompt"`
		States    map[string]agentState `json:"agents_states"`
		Status    string                `json:"status"`
	}
	agentState struct {
		Status  string  `json:"status"`
		Message *string `json:"message"`
	}
	searchItem struct {
		Query   string            `json:"query"`
		Action  searchAction      `json:"action"`
		Results []json.RawMessage `json:"results,omitempty"`
	}
	searchAction struct {
		Type    string   `json:"type"`
		Query   *string  `json:"query,omitempty"`
		Queries []string `json:"queries,omitempty"`
		URL     *string  `json:"url,omitempty"`
		Pattern *string  `json:"pattern,omitempty"`
	}
	todoItem struct {
		Items []todo `json:"items"`
	}
	todo struct {
		Text      string `json:"text"`
		Completed bool   `json:"completed"`
	}
)
