package worker

import (
	"context"
	"errors"
	"log/slog"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/worker/internal/runner"
)

// command handles one message of the job-commands topic. The message stays with
// us until the job is over; what decides is the lease in the document. ctx is
// the life of the worker's jobs, not of the message: a message whose lease the
// bus has lost may be delivered again, and then finds the job claimed.
func (s *Service) command(ctx context.Context, d *bus.Delivery) bus.Outcome {
	payload, err := events.Decode(&d.Event)
	if err != nil {
		return bus.Outcome{Verdict: bus.Reject, Reason: "undecodable: " + err.Error()}
	}
	submitted, ok := payload.(*events.JobSubmitted)
	if !ok {
		return bus.Outcome{Verdict: bus.Reject, Reason: "not a job command: " + d.Event.Type()}
	}
	held, err := s.Jobs.Claim(ctx, submitted.JobID, job.ClaimOptions{
		Worker: s.id, Lease: s.cfg.Lease, Grace: s.cfg.Grace, DeltaDelay: s.cfg.DeltaDelay, Merge: runner.MergeDeltas,
	})
	switch {
	case err == nil:
	case errors.Is(err, job.ErrEnded), errors.Is(err, job.ErrNotAdmitted):
		return bus.Outcome{Verdict: bus.Ack}
	case errors.Is(err, job.ErrLeased):
		return bus.Outcome{Verdict: bus.Retry}
	case errs.CodeOf(err) == errs.NotFound:
		return bus.Outcome{Verdict: bus.Reject, Reason: "no such job"}
	default:
		s.Logger.WarnContext(ctx, "claim failed", slog.String("job_id", submitted.JobID), slog.Any("error", err))
		return bus.Outcome{Verdict: bus.Retry}
	}
	if err := s.runner.Run(ctx, held); err != nil && !errors.Is(err, job.ErrLeaseLost) {
		s.Logger.WarnContext(ctx, "job not settled cleanly", slog.String("job_id", submitted.JobID), slog.Any("error", err))
	}
	// Ended, handed back (and announced anew) or left to the reconciler: in each
	// case this message has done its work.
	return bus.Outcome{Verdict: bus.Ack}
}

// control handles one message of the job-control topic: every worker hears it,
// the one that runs the job looks at the job's control document.
func (s *Service) control(_ context.Context, d *bus.Delivery) bus.Outcome {
	s.runner.Poke(d.Event.Subject())
	return bus.Outcome{Verdict: bus.Ack}
}
