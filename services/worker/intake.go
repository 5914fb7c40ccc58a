package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/worker/internal/runner"
)

// pushLimit is how long a pushed job may run here: Pub/Sub ends the request at
// 600 s, and with it goes the CPU that handing the job back needs.
const pushLimit = 590 * time.Second

// takeJobs runs the jobs that come until ctx ends. jobs is the life of the
// worker's jobs, which outlasts ctx by the time it takes to hand them back.
func (s *Service) takeJobs(ctx, jobs context.Context) error {
	if s.cfg.Intake == IntakeOnce {
		return s.runOnce(jobs)
	}
	sub := s.cfg.subscription()
	err := bus.Keep(ctx, s.Bus, sub, bus.KeepOptions{MaxOutstanding: s.cfg.Concurrency, Logger: s.Logger},
		func(delivery context.Context, d *bus.Delivery) bus.Outcome {
			if s.cfg.Intake == IntakePush {
				pushed, cancel := s.pushed(jobs, delivery, d)
				defer cancel()
				return s.command(pushed, d)
			}
			return s.command(jobs, d)
		})
	if err != nil {
		return fmt.Errorf("worker: receive %s: %w", sub, err)
	}
	return nil
}

// pushed is the life of a job that came by a request: the CPU is there only
// while the request is, so a job whose request ends is handed back.
func (s *Service) pushed(jobs, request context.Context, d *bus.Delivery) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancelCause(jobs)
	handBack := func() {
		s.Logger.WarnContext(ctx, "push request is over before its job, which is handed back", slog.String("job_id", d.Event.Subject()))
		stop(runner.ErrShutdown)
	}
	limit := time.AfterFunc(pushLimit, handBack)
	release := context.AfterFunc(request, handBack)
	return ctx, func() {
		limit.Stop()
		release()
		stop(nil)
	}
}

// command handles one message of the job-commands topic. The message stays with
// us until the job is over; what decides is the lease in the document. ctx is
// the life of the job, not of the message: a pulled message whose lease the bus
// has lost may be delivered again, and then finds the job claimed.
func (s *Service) command(ctx context.Context, d *bus.Delivery) bus.Outcome {
	payload, err := events.Decode(&d.Event)
	if err != nil {
		return bus.Outcome{Verdict: bus.Reject, Reason: "undecodable: " + err.Error()}
	}
	submitted, ok := payload.(*events.JobSubmitted)
	if !ok {
		return bus.Outcome{Verdict: bus.Reject, Reason: "not a job command: " + d.Event.Type()}
	}
	if ctx.Err() != nil {
		return bus.Outcome{Verdict: bus.Retry} // another worker may have time for it
	}
	held, err := s.claim(ctx, submitted.JobID)
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
	s.run(ctx, held)
	// Ended, handed back (and announced anew) or left to the reconciler: in each
	// case this message has done its work.
	return bus.Outcome{Verdict: bus.Ack}
}

// claim makes this worker the one that runs the job. It goes on when ctx ends: a
// claim that is given up half-way may have landed, and the job would then wait
// for its lease to die instead of being handed back.
func (s *Service) claim(ctx context.Context, jobID string) (*job.Held, error) {
	return s.Jobs.Claim(context.WithoutCancel(ctx), jobID, job.ClaimOptions{
		Worker: s.id, Lease: s.cfg.Lease, Grace: s.cfg.Grace, DeltaDelay: s.cfg.DeltaDelay, Merge: runner.MergeDeltas,
	})
}

// run takes a claimed job to its end, or back.
func (s *Service) run(ctx context.Context, held *job.Held) {
	s.firstRun.Do(func() { close(s.running) })
	if err := s.runner.Run(ctx, held); err != nil {
		s.Logger.WarnContext(ctx, "job not settled cleanly", slog.String("job_id", held.Job().ID), slog.Any("error", err))
	}
}
