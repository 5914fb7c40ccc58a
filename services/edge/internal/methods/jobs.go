package methods

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge/internal/call"
)

// Limits of pages.
const (
	maxList          = 200
	defaultEvents    = 100
	maxEvents        = 1000
	maxPageBytes     = 4 << 20
	maxReasonBytes   = 512
	maxCursorBytes   = 4096
	fieldJobID       = "/job_id"
	fieldAfter       = "/after"
	tooManyBytesText = "At most %d bytes are allowed."
)

func (s *Service) jobGet(ctx context.Context, p apiv1.JobRef) (apiv1.Job, error) {
	j, err := s.Job(ctx, p.JobID)
	if err != nil {
		return apiv1.Job{}, err
	}
	return s.view(ctx, j)
}

// view is a job with its whole content, also where that is too long for the
// document.
func (s *Service) view(ctx context.Context, j *job.Job) (apiv1.Job, error) {
	v := j.View()
	if j.ContentBlob == "" {
		return v, nil
	}
	content, err := s.Jobs.LoadContent(ctx, j)
	if err != nil {
		return v, Fault(err)
	}
	spec, err := s.Jobs.LoadSpec(ctx, j)
	if err != nil {
		return v, Fault(err)
	}
	v.Content = content
	if len(spec.OutputSchema) > 0 && json.Valid([]byte(content)) {
		v.Structured = json.RawMessage(content)
	}
	return v, nil
}

func (s *Service) jobList(ctx context.Context, p apiv1.JobListParams) (apiv1.JobListResult, error) {
	var out apiv1.JobListResult
	if p.Status != "" && !job.State(p.Status).Valid() {
		return out, errs.Param("/status", fmt.Sprintf("This parameter must be one of %v.", job.States()))
	}
	if bad := name(p.SessionID); bad != "" {
		return out, errs.Param("/session_id", bad)
	}
	if p.Limit < 0 || p.Limit > maxList {
		return out, errs.Param("/limit", fmt.Sprintf("This parameter must be 1 to %d.", maxList))
	}
	if len(p.Cursor) > maxCursorBytes {
		return out, errs.Param("/cursor", fmt.Sprintf(tooManyBytesText, maxCursorBytes))
	}
	jobs, next, err := s.Jobs.List(ctx, call.From(ctx).Principal.Tenant, job.Filter{
		State: job.State(p.Status), SessionID: p.SessionID, Limit: p.Limit, Cursor: p.Cursor,
	})
	if err != nil {
		return out, Fault(err)
	}
	out.NextCursor = next
	out.Jobs = make([]apiv1.Job, len(jobs))
	for i, j := range jobs {
		out.Jobs[i] = j.View()
	}
	return out, nil
}

// EventPage is an apiv1.EventPage whose events are as they were stored.
type EventPage struct {
	Events []json.RawMessage `json:"events"`
	Next   int64             `json:"next"`
	Done   bool              `json:"done"`
}

func (s *Service) jobEvents(ctx context.Context, p apiv1.JobEventsParams) (EventPage, error) {
	if p.After < 0 {
		return EventPage{}, errs.Param(fieldAfter, "This parameter must not be negative.")
	}
	if p.Limit < 0 || p.Limit > maxEvents {
		return EventPage{}, errs.Param("/limit", fmt.Sprintf("This parameter must be 1 to %d.", maxEvents))
	}
	if p.Limit == 0 {
		p.Limit = defaultEvents
	}
	if _, err := s.Job(ctx, p.JobID); err != nil {
		return EventPage{}, err
	}
	return s.Page(ctx, p.JobID, p.After, p.Limit)
}

// Page reads what the log has after a seq, without waiting. The caller has
// checked that the job may be seen.
func (s *Service) Page(ctx context.Context, jobID string, after int64, limit int) (EventPage, error) {
	page, err := s.Jobs.Events().Read(ctx, jobID, after, limit)
	if err != nil {
		return EventPage{}, Fault(err)
	}
	return NewPage(after, page.Events, page.Closed), nil
}

// NewPage is the answer that carries events after a seq; closed says that the
// last of them ends the log. A page that would be too large is cut.
func NewPage(after int64, events []json.RawMessage, closed bool) EventPage {
	size := 0
	for i, e := range events {
		if size += len(e); size > maxPageBytes && i > 0 {
			events, closed = events[:i], false
			break
		}
	}
	if events == nil {
		events = []json.RawMessage{}
	}
	return EventPage{Events: events, Next: after + int64(len(events)), Done: closed}
}

func (s *Service) jobArtifacts(ctx context.Context, p apiv1.JobRef) (apiv1.Artifacts, error) {
	out := apiv1.Artifacts{Artifacts: []apiv1.Artifact{}}
	j, err := s.Job(ctx, p.JobID)
	if err != nil {
		return out, err
	}
	expires := stamp(s.Now().Add(SignedURLLife))
	for i := range j.Artifacts {
		a := &j.Artifacts[i]
		if a.Blob == "" {
			continue // named, but not written yet
		}
		link, err := s.ArtifactURL(ctx, a)
		if err != nil {
			return out, err
		}
		out.Artifacts = append(out.Artifacts, apiv1.Artifact{
			Name: a.Name, Size: a.Size, ContentType: a.ContentType, SHA256: a.SHA256, URL: link, ExpiresAt: expires,
		})
	}
	return out, nil
}

// Artifact finds one artifact of a job; not_found without it.
func (s *Service) Artifact(ctx context.Context, jobID, artifact string) (*job.Artifact, error) {
	j, err := s.Job(ctx, jobID)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(j.Artifacts, func(a job.Artifact) bool { return a.Name == artifact && a.Blob != "" })
	if i < 0 {
		return nil, errs.New(errs.NotFound, "The job has no such artifact.")
	}
	return &j.Artifacts[i], nil
}

func (s *Service) jobCancel(ctx context.Context, p apiv1.JobCancelParams) (apiv1.JobCancelResult, error) {
	var out apiv1.JobCancelResult
	if p.JobID == "" {
		return out, errs.Param(fieldJobID, "A job id is required.")
	}
	if len(p.Reason) > maxReasonBytes {
		return out, errs.Param("/reason", fmt.Sprintf(tooManyBytesText, maxReasonBytes))
	}
	j, err := s.Jobs.Cancel(ctx, call.From(ctx).Principal.Tenant, p.JobID, p.Reason)
	if err != nil {
		return out, Fault(err)
	}
	s.record(ctx, audit.JobCancel, j.ID)
	return apiv1.JobCancelResult{JobID: j.ID, Status: string(j.State), CancelRequested: true}, nil
}

// jobRetry answers as a submit does: the job waits.
func (s *Service) jobRetry(ctx context.Context, p apiv1.JobRetryParams) (apiv1.Accepted, error) {
	var out apiv1.Accepted
	if p.JobID == "" {
		return out, errs.Param(fieldJobID, "A job id is required.")
	}
	info := call.From(ctx)
	idem, err := idempotencyKey(info, p.IdempotencyKey)
	if err != nil {
		return out, err
	}
	if bad := idempotencyName(idem); bad != "" {
		return out, errs.Param("/idempotency_key", bad)
	}
	j, replayed, err := s.Jobs.Retry(ctx, info.Principal.Tenant, p.JobID, job.RetryOptions{IdempotencyKey: idem, KeyID: info.Principal.KeyID})
	if err != nil {
		return out, Fault(err)
	}
	if replayed {
		info.MarkReplayed()
	} else {
		s.record(ctx, audit.JobRetry, j.ID)
	}
	return accepted(info, j, job.Queued), nil
}

// Encode writes the page as JSON, its events as they are.
func (p *EventPage) Encode() []byte {
	b := []byte(`{"events":[`)
	for i, e := range p.Events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e...)
	}
	b = append(b, `],"next":`...)
	b = strconv.AppendInt(b, p.Next, 10)
	b = append(b, `,"done":`...)
	b = strconv.AppendBool(b, p.Done)
	return append(b, '}')
}
