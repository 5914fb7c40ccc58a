package apiv1

import "encoding/json"

// States of a job.
const (
	StatusQueued    = "queued"
	StatusRunning   = "running"
	StatusWaiting   = "waiting"
	StatusCompleted = "completed"
	StatusFailed    = "failed"
	StatusCancelled = "cancelled"
	StatusTimedOut  = "timed_out"
)

// PromptParams are the params of conversation.prompt.
type PromptParams struct {
	Prompt         string            `json:"prompt"`
	SessionID      string            `json:"session_id,omitempty"`
	ConversationID string            `json:"conversation_id,omitempty"`
	Model          string            `json:"model,omitempty"`
	Effort         string            `json:"effort,omitempty"`
	Images         []string          `json:"images,omitempty"`
	OutputSchema   json.RawMessage   `json:"output_schema,omitempty"`
	Repo           *Repo             `json:"repo,omitempty"`
	Sandbox        string            `json:"sandbox,omitempty"`
	Network        bool              `json:"network,omitempty"`
	ApprovalPolicy string            `json:"approval_policy,omitempty"`
	TimeoutS       int               `json:"timeout_s,omitempty"`
	Priority       int               `json:"priority,omitempty"`
	Metadata       map[string]string `json:"metadata,omitempty"`
	CallbackURL    string            `json:"callback_url,omitempty"`
	IdempotencyKey string            `json:"idempotency_key,omitempty"`
	Wait           int               `json:"wait,omitempty"`
}

// Repo is the repository a job works on.
type Repo struct {
	URL    string `json:"url"`
	Ref    string `json:"ref,omitempty"`
	Subdir string `json:"subdir,omitempty"`
}

// Accepted is the result of conversation.prompt while the job is not finished.
type Accepted struct {
	// Type is "job".
	Type           string `json:"type"`
	JobID          string `json:"job_id"`
	ConversationID string `json:"conversation_id"`
	SessionID      string `json:"session_id,omitempty"`
	Status         string `json:"status"`
	CreatedAt      string `json:"created_at"`
	EventsURL      string `json:"events_url"`
}

// AIResponse is the result of conversation.prompt when the job finished within wait.
type AIResponse struct {
	// Type is "ai_response".
	Type           string          `json:"type"`
	JobID          string          `json:"job_id"`
	ConversationID string          `json:"conversation_id"`
	SessionID      string          `json:"session_id,omitempty"`
	Status         string          `json:"status"`
	Content        string          `json:"content"`
	Structured     json.RawMessage `json:"structured,omitempty"`
	Error          *JobError       `json:"error,omitempty"`
	Model          string          `json:"model"`
	Usage          Usage           `json:"usage"`
	Timestamp      string          `json:"timestamp"`
	// Events are the item-level events: no deltas.
	Events []Event `json:"events"`
}

// Usage counts model tokens of a job, all attempts together.
type Usage struct {
	InputTokens           int64 `json:"input_tokens"`
	CachedInputTokens     int64 `json:"cached_input_tokens"`
	OutputTokens          int64 `json:"output_tokens"`
	ReasoningOutputTokens int64 `json:"reasoning_output_tokens"`
	TotalTokens           int64 `json:"total_tokens"`
}

// JobError is why a job failed.
type JobError struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}

// Job is the result of job.get and a row of job.list.
type Job struct {
	JobID          string            `json:"job_id"`
	ConversationID string            `json:"conversation_id"`
	SessionID      string            `json:"session_id,omitempty"`
	Status         string            `json:"status"`
	Attempt        int               `json:"attempt"`
	CreatedAt      string            `json:"created_at"`
	StartedAt      string            `json:"started_at,omitempty"`
	EndedAt        string            `json:"ended_at,omitempty"`
	LastSeq        int64             `json:"last_seq"`
	Content        string            `json:"content,omitempty"`
	Structured     json.RawMessage   `json:"structured,omitempty"`
	Error          *JobError         `json:"error,omitempty"`
	Model          string            `json:"model,omitempty"`
	Usage          Usage             `json:"usage"`
	Metadata       map[string]string `json:"metadata,omitempty"`
	// RetryOf is the job this one was made from by job.retry.
	RetryOf string `json:"retry_of,omitempty"`
	// KeyID is the key that submitted it.
	KeyID     string   `json:"key_id,omitempty"`
	Artifacts []string `json:"artifacts"`
}

// JobRef are the params of job.get and job.artifacts.
type JobRef struct {
	JobID string `json:"job_id"`
}

// JobListParams are the params of job.list.
type JobListParams struct {
	Status    string `json:"status,omitempty"`
	SessionID string `json:"session_id,omitempty"`
	Limit     int    `json:"limit,omitempty"`
	Cursor    string `json:"cursor,omitempty"`
}

// JobListResult is newest first. NextCursor is empty on the last page.
type JobListResult struct {
	Jobs       []Job  `json:"jobs"`
	NextCursor string `json:"next_cursor,omitempty"`
}

// JobEventsParams are the params of job.events.
type JobEventsParams struct {
	JobID string `json:"job_id"`
	After int64  `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

// EventPage is the result of job.events and of the long-poll route.
type EventPage struct {
	Events []Event `json:"events"`
	// Next is the seq to pass as after in the next call.
	Next int64 `json:"next"`
	// Done is true when the last event of the job is in this page or before it.
	Done bool `json:"done"`
}

// Event is one event of a job's log: dense seq from 1.
type Event struct {
	JobID   string          `json:"job_id"`
	Seq     int64           `json:"seq"`
	Attempt int             `json:"attempt"`
	Time    string          `json:"time"`
	Type    string          `json:"type"`
	Data    json.RawMessage `json:"data"`
}

// JobCancelParams are the params of job.cancel.
type JobCancelParams struct {
	JobID  string `json:"job_id"`
	Reason string `json:"reason,omitempty"`
}

// JobCancelResult tells the state after the wish was stored: "cancelled" for a
// job that had not started, else the state it still has.
type JobCancelResult struct {
	JobID           string `json:"job_id"`
	Status          string `json:"status"`
	CancelRequested bool   `json:"cancel_requested"`
}

// JobRetryParams are the params of job.retry.
type JobRetryParams struct {
	JobID          string `json:"job_id"`
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

// ConversationRef are the params of conversation.status and conversation.cancel.
// One of the two is required.
type ConversationRef struct {
	SessionID      string `json:"session_id,omitempty"`
	ConversationID string `json:"conversation_id,omitempty"`
}

// ConversationStatus is the result of conversation.status. For an unknown
// session only Status ("not_found") and SessionID are set; otherwise Status is
// "active" while a job waits or runs and "idle" if none does.
type ConversationStatus struct {
	Status         string `json:"status"`
	SessionID      string `json:"session_id,omitempty"`
	ConversationID string `json:"conversation_id,omitempty"`
	// CurrentJob is the running or next job.
	CurrentJob *Job   `json:"current_job,omitempty"`
	LastJobID  string `json:"last_job_id,omitempty"`
	QueuedJobs int    `json:"queued_jobs"`
	CreatedAt  string `json:"created_at,omitempty"`
}

// ConversationCancelResult names the jobs that were told to stop.
type ConversationCancelResult struct {
	ConversationID string   `json:"conversation_id"`
	SessionID      string   `json:"session_id,omitempty"`
	CancelledJobs  []string `json:"cancelled_jobs"`
}

// Artifact is one file a job left.
type Artifact struct {
	Name        string `json:"name"`
	Size        int64  `json:"size"`
	ContentType string `json:"content_type"`
	SHA256      string `json:"sha256"`
	URL         string `json:"url"`
	ExpiresAt   string `json:"expires_at"`
}

// Artifacts is the result of job.artifacts.
type Artifacts struct {
	Artifacts []Artifact `json:"artifacts"`
}

// SubscribeParams are the params of job.subscribe.
type SubscribeParams struct {
	JobID string `json:"job_id"`
	After int64  `json:"after,omitempty"`
}

// SubscribeResult is the result of job.subscribe.
type SubscribeResult struct {
	SubscriptionID string `json:"subscription_id"`
	JobID          string `json:"job_id"`
	After          int64  `json:"after"`
}

// UnsubscribeParams are the params of job.unsubscribe.
type UnsubscribeParams struct {
	SubscriptionID string `json:"subscription_id"`
}

// UnsubscribeResult is the result of job.unsubscribe.
type UnsubscribeResult struct {
	SubscriptionID string `json:"subscription_id"`
}

// JobEventNotification are the params of the job.event notification.
type JobEventNotification struct {
	SubscriptionID string `json:"subscription_id"`
	Event
}

// SubscriptionClosed are the params of job.subscription_closed. Reason is
// "finished", "unsubscribed" or an error code.
type SubscriptionClosed struct {
	SubscriptionID string `json:"subscription_id"`
	JobID          string `json:"job_id"`
	Reason         string `json:"reason"`
	LastSeq        int64  `json:"last_seq"`
}

// Pong is the result of system.ping.
type Pong struct {
	// Status is "ok".
	Status  string `json:"status"`
	Version string `json:"version"`
	Time    string `json:"time"`
}
