package codex

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"

	"codexgateway.dev/pkg/errs"
)

// Status is how a turn ended.
type Status string

// The ends of a turn.
const (
	StatusCompleted   Status = "completed"
	StatusInterrupted Status = "interrupted"
	StatusFailed      Status = "failed"
	// StatusLost is a turn whose end Codex never told.
	StatusLost Status = "lost"
)

// Usage counts tokens. The JSON names are Codex's.
type Usage struct {
	TotalTokens           int64 `json:"totalTokens"`
	InputTokens           int64 `json:"inputTokens"`
	CachedInputTokens     int64 `json:"cachedInputTokens"`
	OutputTokens          int64 `json:"outputTokens"`
	ReasoningOutputTokens int64 `json:"reasoningOutputTokens"`
}

func (u Usage) minus(v Usage) Usage {
	return Usage{
		TotalTokens:           u.TotalTokens - v.TotalTokens,
		InputTokens:           u.InputTokens - v.InputTokens,
		CachedInputTokens:     u.CachedInputTokens - v.CachedInputTokens,
		OutputTokens:          u.OutputTokens - v.OutputTokens,
		ReasoningOutputTokens: u.ReasoningOutputTokens - v.ReasoningOutputTokens,
	}
}

// Result is what came out of a turn.
type Result struct {
	Status Status
	// Message is the last finished message of the model, preferring one it did
	// not declare commentary; "" when there was none. For a review, its findings.
	Message string
	// Usage is this turn's, ThreadUsage the whole conversation's.
	Usage       Usage
	ThreadUsage Usage
	// OpenCommands are commands that ran on when the turn ended; they live until
	// CleanBackgroundTerminals or the end of the process.
	OpenCommands []string
	// Failure is the job error of a failed or lost turn, nil otherwise.
	Failure *errs.Error
}

// Turn follows one turn by its notifications. The id is that of the answer to
// turn/start, because the notification turn/started of a review has another.
type Turn struct {
	id       string
	threadID string
	done     chan struct{}

	mu         sync.Mutex
	open       map[string]string // item id → type
	message    string
	commentary string
	diff       [sha256.Size]byte
	baseline   *Usage // the conversation's usage before this turn
	lastError  *TurnError
	over       bool
	result     Result
}

func newTurn(threadID, id string) *Turn {
	return &Turn{id: id, threadID: threadID, done: make(chan struct{}), open: make(map[string]string)}
}

// ID is Codex's id of the turn.
func (t *Turn) ID() string { return t.id }

// ThreadID is Codex's id of the conversation.
func (t *Turn) ThreadID() string { return t.threadID }

// Done is closed when the turn has ended and the handler has seen its last
// notification.
func (t *Turn) Done() <-chan struct{} { return t.done }

// Wait returns the result once the turn has ended. The error is the context's
// cause; a failed or lost turn is a Result.
func (t *Turn) Wait(ctx context.Context) (Result, error) {
	select {
	case <-t.done:
		return t.result, nil
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

// params is the union of what the followed notifications carry.
type turnParams struct {
	Item struct {
		ID    string `json:"id"`
		Type  string `json:"type"`
		Text  string `json:"text"`
		Phase string `json:"phase"`
	} `json:"item"`
	TokenUsage struct {
		Total Usage `json:"total"`
		Last  Usage `json:"last"`
	} `json:"tokenUsage"`
	Error     *TurnError `json:"error"`
	WillRetry bool       `json:"willRetry"`
	Turn      struct {
		Status Status     `json:"status"`
		Error  *TurnError `json:"error"`
		Items  []struct {
			Type string `json:"type"`
			Text string `json:"text"`
		} `json:"items"`
	} `json:"turn"`
}

// observe follows one notification of the turn and reports whether it says
// anything new. Deltas pass unread.
func (t *Turn) observe(n *Notification) bool {
	switch n.Method {
	case "turn/diff/updated":
		return t.newDiff(n.Params)
	case "item/started", "item/completed", "thread/tokenUsage/updated", "error", "turn/completed":
	default:
		return true
	}
	var p turnParams
	if err := jsonv2.Unmarshal(n.Params, &p, lenient); err != nil && n.Method != "turn/completed" {
		// A member changed its type: relayed unread. The end of the turn counts
		// even so, as a failure with whatever could be read.
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch n.Method {
	case "item/started":
		t.open[p.Item.ID] = p.Item.Type
	case "item/completed":
		t.finishItem(&p)
	case "thread/tokenUsage/updated":
		t.count(p.TokenUsage.Total, p.TokenUsage.Last)
	case "error":
		t.lastError = p.Error
		if p.WillRetry {
			t.discardOpen()
		}
	case "turn/completed":
		t.complete(&p)
	}
	return true
}

// newDiff reports whether the diff of the turn changed. Codex repeats it after
// every step of the model.
func (t *Turn) newDiff(params json.RawMessage) bool {
	sum := sha256.Sum256(bytes.TrimSpace(params))
	t.mu.Lock()
	defer t.mu.Unlock()
	changed := sum != t.diff
	t.diff = sum
	return changed
}

func (t *Turn) finishItem(p *turnParams) {
	delete(t.open, p.Item.ID)
	switch {
	case p.Item.Type == "userMessage":
		// Steering cuts the message being written; its item never ends.
		t.discardOpen()
	case p.Item.Type == "agentMessage" && p.Item.Phase == "commentary":
		t.commentary = p.Item.Text
	case p.Item.Type == "agentMessage":
		t.message = p.Item.Text
	}
}

// discardOpen forgets items that will never end, but not commands: they run on
// when the model's stream breaks.
func (t *Turn) discardOpen() {
	for id, kind := range t.open {
		if kind != "commandExecution" {
			delete(t.open, id)
		}
	}
}

// count takes the conversation's total; the first one tells what there was
// before this turn.
func (t *Turn) count(total, last Usage) {
	if t.baseline == nil {
		before := total.minus(last)
		t.baseline = &before
	}
	t.result.ThreadUsage = total
	t.result.Usage = total.minus(*t.baseline)
}

func (t *Turn) complete(p *turnParams) {
	if t.message == "" {
		for _, item := range p.Turn.Items {
			if item.Type == "agentMessage" {
				t.message = item.Text
			}
		}
	}
	t.over = true
	t.result.Status = p.Turn.Status
	if s := p.Turn.Status; s != StatusCompleted && s != StatusInterrupted {
		t.fail(p.Turn.Error)
	}
}

func (t *Turn) fail(e *TurnError) {
	if e == nil {
		e = t.lastError
	}
	if e == nil {
		e = &TurnError{}
	}
	t.result.Status = StatusFailed
	t.result.Failure = e.Failure()
}

// isOver reports whether the last notification of the turn was observed.
func (t *Turn) isOver() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over
}

// finish ends a turn that is over.
func (t *Turn) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.close()
}

// lose ends a turn whose end will not come.
func (t *Turn) lose(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	t.result.Status = StatusLost
	t.result.Failure = Failure(err)
	t.close()
}

func (t *Turn) close() {
	t.result.Message = t.message
	if t.message == "" {
		t.result.Message = t.commentary
	}
	for id, kind := range t.open {
		if kind == "commandExecution" {
			t.result.OpenCommands = append(t.result.OpenCommands, id)
		}
	}
	slices.Sort(t.result.OpenCommands)
	close(t.done)
}
