package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"codexgateway.dev/pkg/apiv1"
)

// Prompted is the result of conversation.prompt: one of the two is set.
type Prompted struct {
	// Accepted is set while the job is not finished.
	Accepted *apiv1.Accepted
	// Response is set when the job finished within the wait.
	Response *apiv1.AIResponse
	// Replayed is true when the answer repeats an earlier one of the same
	// idempotency key.
	Replayed bool
	// Raw is the result as the gateway wrote it.
	Raw json.RawMessage
}

// JobID is the job the prompt became.
func (p *Prompted) JobID() string {
	if p.Response != nil {
		return p.Response.JobID
	}
	return p.Accepted.JobID
}

// Prompt submits a prompt. Repeating it is safe with an idempotency key only.
func (c *Client) Prompt(ctx context.Context, params apiv1.PromptParams) (*Prompted, error) {
	var out Prompted
	timeout := c.opt.Timeout + time.Duration(params.Wait)*time.Second
	header, err := c.call(ctx, timeout, apiv1.MethodConversationPrompt, params, &out.Raw)
	if err != nil {
		return nil, err
	}
	out.Replayed = header.Get("Idempotency-Replayed") == "true"
	var kind struct {
		Type string `json:"type"`
	}
	if err := decodeResult(apiv1.MethodConversationPrompt, out.Raw, &kind); err != nil {
		return nil, err
	}
	switch kind.Type {
	case "ai_response":
		out.Response = &apiv1.AIResponse{}
		err = decodeResult(apiv1.MethodConversationPrompt, out.Raw, out.Response)
	case "job":
		out.Accepted = &apiv1.Accepted{}
		err = decodeResult(apiv1.MethodConversationPrompt, out.Raw, out.Accepted)
	default:
		err = fmt.Errorf("client: %s: unknown result type %q", apiv1.MethodConversationPrompt, kind.Type)
	}
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// GetJob reads a job.
func (c *Client) GetJob(ctx context.Context, jobID string) (apiv1.Job, error) {
	var out apiv1.Job
	err := c.Call(ctx, apiv1.MethodJobGet, apiv1.JobRef{JobID: jobID}, &out)
	return out, err
}

// ListJobs reads one page of jobs, newest first.
func (c *Client) ListJobs(ctx context.Context, params apiv1.JobListParams) (apiv1.JobListResult, error) {
	var out apiv1.JobListResult
	err := c.Call(ctx, apiv1.MethodJobList, params, &out)
	return out, err
}

// CancelJob asks a job to stop. A job that has ended answers errs.Conflict.
func (c *Client) CancelJob(ctx context.Context, jobID, reason string) (apiv1.JobCancelResult, error) {
	var out apiv1.JobCancelResult
	err := c.Call(ctx, apiv1.MethodJobCancel, apiv1.JobCancelParams{JobID: jobID, Reason: reason}, &out)
	return out, err
}

// RetryJob submits an ended job again as a new one. A job that has not ended
// answers errs.Conflict.
func (c *Client) RetryJob(ctx context.Context, params apiv1.JobRetryParams) (apiv1.Accepted, error) {
	var out apiv1.Accepted
	err := c.Call(ctx, apiv1.MethodJobRetry, params, &out)
	return out, err
}

// Events reads one page of a job's log after the given seq; limit 0 leaves the
// page's size to the gateway.
func (c *Client) Events(ctx context.Context, jobID string, after int64, limit int) (apiv1.EventPage, error) {
	var out apiv1.EventPage
	err := c.Call(ctx, apiv1.MethodJobEvents, apiv1.JobEventsParams{JobID: jobID, After: after, Limit: limit}, &out)
	return out, err
}

// Artifacts lists what a job left, with URLs that expire.
func (c *Client) Artifacts(ctx context.Context, jobID string) ([]apiv1.Artifact, error) {
	var out apiv1.Artifacts
	err := c.Call(ctx, apiv1.MethodJobArtifacts, apiv1.JobRef{JobID: jobID}, &out)
	return out.Artifacts, err
}

// Ping asks whether the gateway takes this key.
func (c *Client) Ping(ctx context.Context) (apiv1.Pong, error) {
	var out apiv1.Pong
	err := c.Call(ctx, apiv1.MethodSystemPing, nil, &out)
	return out, err
}
