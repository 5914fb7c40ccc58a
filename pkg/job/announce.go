package job

import (
	"context"
	"encoding/json"
	"log/slog"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/id"
)

// maxProgressBytes bounds the events carried in one progress message. A larger
// batch is announced without its events; readers then read the log.
const maxProgressBytes = 4 << 20

// publish tells the bus something that is already stored. A failure costs time
// only: readers and the reconciler find the same in the documents.
func (s *Store) publish(ctx context.Context, jobID, lane string, payload any) {
	ev, err := events.New(events.Head{
		ID: id.New(id.Event), Source: s.Source, Subject: jobID, Time: s.Now(), Lane: lane,
	}, payload)
	if err == nil {
		// What is stored must be told even if the caller has gone meanwhile; the
		// bus has a deadline of its own.
		err = s.Bus.Publish(context.WithoutCancel(ctx), ev)
	}
	if err != nil {
		s.Logger.WarnContext(ctx, "publish failed, documents will repair it",
			slog.String("job_id", jobID), slog.String("event_type", ev.Type()), slog.Any("error", err))
	}
}

// announceJob tells the workers that a job waits.
func (s *Store) announceJob(ctx context.Context, j *Job) {
	s.publish(ctx, j.ID, j.Lane, &events.JobSubmitted{
		JobID: j.ID, ConversationID: j.ConversationID, Tenant: j.Tenant, Lane: j.Lane,
	})
}

// announceBatch tells the watchers about a stored batch.
func (s *Store) announceBatch(ctx context.Context, tenant string, b *eventlog.Batch) {
	size := 0
	for _, e := range b.Events {
		size += len(e)
	}
	var carried []json.RawMessage
	if size <= maxProgressBytes {
		carried = b.Events
	}
	s.publish(ctx, b.JobID, "", &events.JobProgressed{
		JobID: b.JobID, Tenant: tenant, FirstSeq: b.FirstSeq, LastSeq: b.LastSeq,
		Closed: b.Closed, Events: carried,
	})
}

// announceEnd tells the notifier how a job ended.
func (s *Store) announceEnd(ctx context.Context, j *Job) {
	ended := events.JobEnded{
		JobID: j.ID, ConversationID: j.ConversationID, Tenant: j.Tenant,
		Attempt: max(j.Attempt, firstAttempt), LastSeq: j.LastSeq, EndedAt: j.EndedAt,
	}
	switch j.State {
	case Completed:
		s.publish(ctx, j.ID, "", &events.JobCompleted{JobEnded: ended})
	case Failed:
		s.publish(ctx, j.ID, "", &events.JobFailed{JobEnded: ended, Error: *j.Error})
	case Cancelled:
		s.publish(ctx, j.ID, "", &events.JobCancelled{JobEnded: ended})
	case TimedOut:
		s.publish(ctx, j.ID, "", &events.JobTimedOut{JobEnded: ended})
	case Queued, Running, Waiting:
		// Not an end; nothing to tell.
	}
}
