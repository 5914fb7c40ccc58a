package events

import (
	"encoding/json"
	"time"
)

// Event types. The form is dev.codexgateway.<noun>.<past participle>.v<major>.
const (
	TypeJobSubmittedV1       = "dev.codexgateway.job.submitted.v1"
	TypeJobProgressedV1      = "dev.codexgateway.job.progressed.v1"
	TypeJobCompletedV1       = "dev.codexgateway.job.completed.v1"
	TypeJobFailedV1          = "dev.codexgateway.job.failed.v1"
	TypeJobCancelledV1       = "dev.codexgateway.job.cancelled.v1"
	TypeJobTimedOutV1        = "dev.codexgateway.job.timed_out.v1"
	TypeJobCancelRequestedV1 = "dev.codexgateway.job.cancel_requested.v1"
	TypeJobSteerRequestedV1  = "dev.codexgateway.job.steer_requested.v1"
	TypeApprovalRequestedV1  = "dev.codexgateway.approval.requested.v1"
	TypeApprovalAnsweredV1   = "dev.codexgateway.approval.answered.v1"
	TypeWebhookReceivedV1    = "dev.codexgateway.webhook.received.v1"
	TypeKeyRevokedV1         = "dev.codexgateway.key.revoked.v1"
	TypeKeyRotatedV1         = "dev.codexgateway.key.rotated.v1"
)

// JobSubmitted tells the workers that a job waits. It is a hint: the job
// document decides whether there is anything to do.
type JobSubmitted struct {
	JobID          string `json:"job_id"`
	ConversationID string `json:"conversation_id"`
	Tenant         string `json:"tenant"`
	// Lane is "short" or "long", from the job's time limit; subscriptions filter on it.
	Lane string `json:"lane"`
}

// JobProgressed carries one stored batch of a job's event log, exactly as
// stored, so that a watcher need not read it again.
type JobProgressed struct {
	JobID    string `json:"job_id"`
	Tenant   string `json:"tenant"`
	FirstSeq int64  `json:"first_seq"`
	LastSeq  int64  `json:"last_seq"`
	// Closed is true on the batch that ends the log.
	Closed bool `json:"closed,omitempty"`
	// Events are the log's events, first_seq to last_seq. Empty on a batch too
	// large for a message: the reader then reads the log.
	Events []json.RawMessage `json:"events,omitempty"`
}

// JobEnded is the shape of every event that ends a job.
type JobEnded struct {
	JobID          string    `json:"job_id"`
	ConversationID string    `json:"conversation_id"`
	Tenant         string    `json:"tenant"`
	Attempt        int       `json:"attempt"`
	LastSeq        int64     `json:"last_seq"`
	EndedAt        time.Time `json:"ended_at"`
}

// JobCompleted says that a job reached its answer.
type JobCompleted struct {
	JobEnded
}

// JobFailed says that a job ended without an answer, and why.
type JobFailed struct {
	JobEnded

	Error JobError `json:"error"`
}

// JobCancelled says that a job was stopped on request.
type JobCancelled struct {
	JobEnded
}

// JobTimedOut says that a job reached its time limit.
type JobTimedOut struct {
	JobEnded
}

// JobError is why a job failed: a code from the error registry and a sentence.
type JobError struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}

// JobCancelRequested is the fast path of a cancel; the intent itself is in the
// job's control document.
type JobCancelRequested struct {
	JobID  string `json:"job_id"`
	Tenant string `json:"tenant"`
}

// JobSteerRequested is the fast path of a steer; the input itself is in the
// job's control document.
type JobSteerRequested struct {
	JobID  string `json:"job_id"`
	Tenant string `json:"tenant"`
}

// ApprovalRequested says that a job waits for a person's answer.
type ApprovalRequested struct {
	ApprovalID string `json:"approval_id"`
	JobID      string `json:"job_id"`
	Tenant     string `json:"tenant"`
	// Kind is "command" or "file_change".
	Kind string `json:"kind"`
}

// ApprovalAnswered is the fast path of an answer; the answer itself is in the
// job's control document.
type ApprovalAnswered struct {
	ApprovalID string `json:"approval_id"`
	JobID      string `json:"job_id"`
	Tenant     string `json:"tenant"`
}

// WebhookReceived says that a verified webhook was stored.
type WebhookReceived struct {
	DeliveryID string `json:"delivery_id"`
	Source     string `json:"source"`
	Tenant     string `json:"tenant"`
}

// KeyRevoked tells every edge to forget a key and close its sockets.
type KeyRevoked struct {
	KeyID  string `json:"key_id"`
	Tenant string `json:"tenant"`
}

// KeyRotated tells every edge to read a key again: it has a new secret, and the
// old one ends.
type KeyRotated struct {
	KeyID  string `json:"key_id"`
	Tenant string `json:"tenant"`
}
