package methods

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge/internal/call"
)

// maxAnswerEvents bounds the events of an ai_response in bytes. Later ones are
// left out; the answer itself and the job's log have everything.
const maxAnswerEvents = 8 << 20

var errWaitOver = errors.New("methods: the wait is over")

// prompt is conversation.prompt. Its result is an apiv1.Accepted or an
// apiv1.AIResponse.
func (s *Service) prompt(ctx context.Context, p apiv1.PromptParams) (any, error) {
	j, err := s.Submit(ctx, p)
	if err != nil {
		return nil, err
	}
	if p.Wait == 0 {
		// What a submit without wait is told, first time or replayed: the job waits.
		return accepted(call.From(ctx), j, job.Queued), nil
	}
	return s.await(ctx, j, time.Duration(p.Wait)*time.Second), nil
}

// Submit checks the params of conversation.prompt and stores the job they ask
// for, or finds the one that the same idempotency key has stored. It does not
// wait, whatever the params say.
func (s *Service) Submit(ctx context.Context, p apiv1.PromptParams) (*job.Job, error) {
	info := call.From(ctx)
	idem, err := idempotencyKey(info, p.IdempotencyKey)
	if err != nil {
		return nil, err
	}
	spec, err := validatePrompt(&p, s.AllowFileRepos)
	if err != nil {
		return nil, err
	}
	j, replayed, err := s.Jobs.Submit(ctx, job.Submission{
		Tenant: info.Principal.Tenant, SessionID: p.SessionID, ConversationID: p.ConversationID,
		IdempotencyKey: idem, Spec: spec, KeyID: info.Principal.KeyID,
	})
	if err != nil {
		return nil, Fault(err)
	}
	if replayed {
		info.MarkReplayed()
	} else {
		s.record(ctx, audit.JobSubmit, j.ID)
	}
	return j, nil
}

// EventsURL is where a job's events are.
func EventsURL(info *call.Info, j *job.Job) string {
	return info.BaseURL + "/v1/jobs/" + j.ID + "/events"
}

// accepted is the answer about a job that has not finished.
func accepted(info *call.Info, j *job.Job, state job.State) apiv1.Accepted {
	return apiv1.Accepted{
		Type: "job", JobID: j.ID, ConversationID: j.ConversationID, SessionID: j.SessionID,
		Status: string(state), CreatedAt: stamp(j.CreatedAt),
		EventsURL: EventsURL(info, j),
	}
}

// await answers with the result if the job ends in time. The job is stored:
// whatever fails from here on, the answer names it.
func (s *Service) await(ctx context.Context, j *job.Job, wait time.Duration) any {
	items, ended := s.collect(ctx, j.ID, wait)
	now, err := s.Jobs.Get(ctx, j.Tenant, j.ID)
	if err == nil && ended && now.State.Terminal() {
		var v apiv1.Job
		if v, err = s.view(ctx, now); err == nil {
			return answer(&v, items)
		}
	}
	if err != nil {
		s.Jobs.Logger.WarnContext(ctx, "result of a waited job not read", slog.String("job_id", j.ID), slog.Any("error", err))
		now = j
	}
	return accepted(call.From(ctx), now, now.State)
}

// collect gathers item-level events until the log is closed, and reports
// whether it was in time.
func (s *Service) collect(ctx context.Context, jobID string, wait time.Duration) ([]apiv1.Event, bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errWaitOver)
	defer cancel()
	stop := s.stopWhenDraining(ctx, cancel)
	defer stop()
	w, err := s.Hub.Watch(jobID, 0)
	if err != nil {
		return nil, false
	}
	defer w.Close()
	items, size := []apiv1.Event{}, 0
	for {
		b, err := w.Next(ctx)
		if err != nil {
			return nil, false
		}
		for _, raw := range b.Events {
			if e, ok := itemEvent(raw); ok && size+len(raw) <= maxAnswerEvents {
				items = append(items, e)
				size += len(raw)
			}
		}
		if b.Closed {
			return items, true
		}
	}
}

// stopWhenDraining ends a wait when the instance goes away.
func (s *Service) stopWhenDraining(ctx context.Context, cancel context.CancelFunc) (stop func()) {
	done := make(chan struct{})
	go func() { // ends with the wait
		defer close(done)
		select {
		case <-s.Draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	return func() { cancel(); <-done }
}

// itemEvent decodes an event of an item as a whole: what Codex says about
// items, but not their deltas.
func itemEvent(raw json.RawMessage) (apiv1.Event, bool) {
	var e apiv1.Event
	if err := json.Unmarshal(raw, &e); err != nil || e.Type != eventlog.TypeCodex {
		return e, false
	}
	var n struct {
		Method string `json:"method"`
	}
	if err := json.Unmarshal(e.Data, &n); err != nil {
		return e, false
	}
	return e, strings.HasPrefix(n.Method, "item/") && !strings.HasSuffix(strings.ToLower(n.Method), "delta")
}

// answer is the result of a job that has ended.
func answer(v *apiv1.Job, items []apiv1.Event) apiv1.AIResponse {
	return apiv1.AIResponse{
		Type: "ai_response", JobID: v.JobID, ConversationID: v.ConversationID, SessionID: v.SessionID,
		Status: v.Status, Content: v.Content, Structured: v.Structured, Error: v.Error,
		Model: v.Model, Usage: v.Usage, Timestamp: v.EndedAt, Events: items,
	}
}
