package methods

import (
	"context"
	"errors"
	"slices"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge/internal/call"
)

// States of a conversation.
const (
	conversationIdle    = "idle"
	conversationActive  = "active"
	conversationUnknown = "not_found"
)

// cancelReason is the reason of jobs stopped with their conversation.
const cancelReason = "conversation cancelled"

// unknownSession is conversation.status of a session that never was: no error,
// because a session begins with its first prompt.
type unknownSession struct {
	Status    string `json:"status"`
	SessionID string `json:"session_id"`
}

// errNoSession is a session name nobody has used.
var errNoSession = errors.New("methods: no such session")

// find reads the conversation that ref names: errNoSession for an unknown
// session name, not_found for an unknown conversation id.
func (s *Service) find(ctx context.Context, ref apiv1.ConversationRef) (*conversation.Conversation, error) {
	tenant := call.From(ctx).Principal.Tenant
	switch {
	case ref.SessionID == "" && ref.ConversationID == "":
		return nil, errs.Param("/session_id", "Give session_id or conversation_id.")
	case ref.SessionID != "" && ref.ConversationID != "":
		return nil, errs.Param("/conversation_id", "Give session_id or conversation_id, not both.")
	case ref.ConversationID != "":
		c, err := s.Jobs.Conversations.Get(ctx, tenant, ref.ConversationID)
		if err != nil {
			return nil, Fault(err)
		}
		return c, nil
	}
	if bad := name(ref.SessionID); bad != "" {
		return nil, errs.Param("/session_id", bad)
	}
	c, err := s.Jobs.Conversations.BySession(ctx, tenant, ref.SessionID)
	switch {
	case err != nil && errs.CodeOf(err) == errs.NotFound:
		return nil, errNoSession
	case err != nil:
		return nil, Fault(err)
	default:
		return c, nil
	}
}

// conversationStatus is conversation.status. Its result is an
// apiv1.ConversationStatus or an unknownSession.
func (s *Service) conversationStatus(ctx context.Context, p apiv1.ConversationRef) (any, error) {
	c, err := s.find(ctx, p)
	if errors.Is(err, errNoSession) {
		return unknownSession{Status: conversationUnknown, SessionID: p.SessionID}, nil
	}
	if err != nil {
		return nil, err
	}
	out := apiv1.ConversationStatus{
		Status: conversationIdle, SessionID: c.SessionID, ConversationID: c.ID,
		LastJobID: c.LastJob, QueuedJobs: len(c.Queue), CreatedAt: stamp(c.CreatedAt),
	}
	if c.Head() == "" {
		return out, nil
	}
	head, err := s.Jobs.Get(ctx, c.Tenant, c.Head())
	if err != nil {
		return nil, Fault(err)
	}
	v := head.View()
	out.Status, out.CurrentJob = conversationActive, &v
	if head.State != job.Queued {
		out.QueuedJobs--
	}
	return out, nil
}

func (s *Service) conversationCancel(ctx context.Context, p apiv1.ConversationRef) (apiv1.ConversationCancelResult, error) {
	c, err := s.find(ctx, p)
	if errors.Is(err, errNoSession) {
		return apiv1.ConversationCancelResult{}, errs.Param("/session_id", "There is no such session.")
	}
	if err != nil {
		return apiv1.ConversationCancelResult{}, err
	}
	out := apiv1.ConversationCancelResult{ConversationID: c.ID, SessionID: c.SessionID, CancelledJobs: []string{}}
	// From the last to the first: so none of them starts because the one before
	// it has just been stopped.
	for _, jobID := range slices.Backward(c.Queue) {
		_, err := s.Jobs.Cancel(ctx, c.Tenant, jobID, cancelReason)
		if err != nil && errs.CodeOf(err) == errs.Conflict {
			continue // ended by itself meanwhile
		}
		if err != nil {
			return out, Fault(err)
		}
		s.record(ctx, audit.JobCancel, jobID)
		out.CancelledJobs = append(out.CancelledJobs, jobID)
	}
	slices.Reverse(out.CancelledJobs)
	return out, nil
}
