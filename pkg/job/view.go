package job

import (
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
)

// usageView is the API's form of token counts.
func usageView(u Usage) apiv1.Usage {
	return apiv1.Usage{
		InputTokens: u.Input, CachedInputTokens: u.CachedInput, OutputTokens: u.Output,
		ReasoningOutputTokens: u.Reasoning, TotalTokens: u.Input + u.Output,
	}
}

// View is the API's form of a job. Content and structured answer are in it
// when they are inline in the document.
func (j *Job) View() apiv1.Job {
	v := apiv1.Job{
		JobID: j.ID, ConversationID: j.ConversationID, SessionID: j.SessionID,
		Status: string(j.State), Attempt: max(j.Attempt, firstAttempt),
		CreatedAt: stamp(j.CreatedAt), StartedAt: stamp(j.StartedAt), EndedAt: stamp(j.EndedAt),
		LastSeq: j.LastSeq, Content: j.Content, Structured: j.Structured, Model: j.Model,
		Usage: usageView(j.Usage), Metadata: j.Metadata, RetryOf: j.RetryOf, KeyID: j.KeyID, Artifacts: []string{},
	}
	if j.Error != nil {
		v.Error = &apiv1.JobError{Code: j.Error.Code, Message: j.Error.Message, Retryable: j.Error.Retryable}
	}
	for _, a := range j.Artifacts {
		if a.Blob != "" {
			v.Artifacts = append(v.Artifacts, a.Name)
		}
	}
	return v
}

// stamp formats a time for the API; the zero time is empty.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(eventlog.TimeFormat)
}
