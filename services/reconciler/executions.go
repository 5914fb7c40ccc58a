package reconciler

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
)

const (
	// startTimeout bounds the order of one execution.
	startTimeout = 20 * time.Second
	// startOutstanding is how many orders are under way at once. The platform's
	// quota for them is small, and the rest of a burst waits in the subscription.
	startOutstanding = 8
)

// hearLongJobs starts an execution for each job of lane long as soon as it is
// told of one. It is the fast path only: a message that is lost is made up for
// by the sweep, one that comes twice finds the first start in the document.
func (s *Service) hearLongJobs(ctx context.Context) error {
	err := bus.Keep(ctx, s.Bus, events.SubJobCommandsWorkerLong, bus.KeepOptions{
		MaxOutstanding: startOutstanding, Logger: s.Logger,
	}, s.longJob)
	if err != nil {
		return fmt.Errorf("reconciler: receive %s: %w", events.SubJobCommandsWorkerLong, err)
	}
	return nil
}

// longJob handles one message. A start that failed is planned in the document,
// so the message has done its work in every case.
func (s *Service) longJob(ctx context.Context, d *bus.Delivery) bus.Outcome {
	payload, err := events.Decode(&d.Event)
	if err != nil {
		return bus.Outcome{Verdict: bus.Reject, Reason: "undecodable: " + err.Error()}
	}
	submitted, ok := payload.(*events.JobSubmitted)
	if !ok {
		return bus.Outcome{Verdict: bus.Reject, Reason: "not a job command: " + d.Event.Type()}
	}
	if err := s.startExecution(ctx, submitted.JobID); err != nil {
		s.Logger.WarnContext(ctx, "execution not started, the sweep tries again", slog.String("job_id", submitted.JobID), slog.Any("error", err))
	}
	return bus.Outcome{Verdict: bus.Ack}
}

// startExecution starts the execution of a queued job, unless one was started
// short ago.
func (s *Service) startExecution(ctx context.Context, jobID string) error {
	started, err := s.Jobs.Dispatch(ctx, jobID, s.cfg.ExecutionRetry, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		return s.Executions.Start(ctx, jobID)
	})
	if started && err == nil {
		s.Logger.InfoContext(ctx, "execution started", slog.String("job_id", jobID))
	}
	return err
}
