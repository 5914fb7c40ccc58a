package job

import (
	"context"

	"codexgateway.dev/pkg/errs"
)

// RetryOptions are what a retry has in common with a submit; see [Submission].
type RetryOptions struct{ IdempotencyKey, KeyID string }

// Retry submits an ended job of a tenant again: a new job with the same spec in
// the same conversation, which goes on from where the conversation is. A job
// that has not ended is a conflict. replayed is as for [Store.Submit].
func (s *Store) Retry(ctx context.Context, tenant, jobID string, opt RetryOptions) (j *Job, replayed bool, err error) {
	old, err := s.Get(ctx, tenant, jobID)
	if err != nil {
		return nil, false, err
	}
	if !old.State.Terminal() {
		return nil, false, errs.Newf(errs.Conflict, "The job has not ended, it is %s.", old.State)
	}
	spec, err := s.LoadSpec(ctx, old)
	if err != nil {
		return nil, false, err
	}
	return s.Submit(ctx, Submission{
		Tenant: tenant, ConversationID: old.ConversationID, IdempotencyKey: opt.IdempotencyKey,
		Spec: *spec, RetryOf: old.ID, KeyID: opt.KeyID,
	})
}
