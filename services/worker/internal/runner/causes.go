package runner

import (
	"context"
	"errors"
	"fmt"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/worker/internal/quota"
)

// Why a run stops before its turn does. They travel as context causes.
var (
	// ErrShutdown: the worker is asked to end; the job goes back to the queue.
	ErrShutdown = errors.New("runner: worker shuts down")

	errCancelled = errors.New("runner: cancel requested")
	errDeadline  = errors.New("runner: job deadline")
	errStalled   = errors.New("runner: no progress from codex")
	errLost      = errors.New("runner: lease lost")
)

// fullError is the cause of a run whose files are over the worker's limit.
func fullError(l quota.Limits, err error) error {
	return errs.Wrap(errs.WorkspaceFull, fmt.Sprintf(
		"The job's files take more than a job may on this worker: %d MiB, %d files.", l.Bytes>>20, l.Files), err)
}

// outcome is what becomes of the job.
type outcome struct {
	state job.State
	err   *events.JobError
}

// judge turns the end of a run into the end of the job. cause is why the run's
// context ended (nil: it did not), err what the run itself reported.
func judge(cause, err error) outcome {
	switch {
	case errors.Is(cause, errCancelled):
		return outcome{state: job.Cancelled}
	case errors.Is(cause, errDeadline):
		return outcome{state: job.TimedOut}
	case errors.Is(cause, errStalled):
		return outcome{state: job.Failed, err: job.NewError(errs.Stalled, "")}
	case errs.CodeOf(cause) == errs.WorkspaceFull:
		err = cause // what the run itself reports is a consequence
	case err == nil:
		return outcome{state: job.Completed}
	}
	e := errs.From(err)
	if errs.Lookup(e.Code).Scope != errs.Job {
		// Not a reason a client can use; the log has it.
		return outcome{state: job.Failed, err: job.NewError(errs.InternalJob, "")}
	}
	return outcome{state: job.Failed, err: job.NewError(e.Code, e.Public)}
}

// stopping reports whether the run's context ended in a way that lets the turn
// end and its result be collected, as opposed to "stop without a further effect".
func stopping(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, errCancelled) || errors.Is(cause, errDeadline) || errors.Is(cause, errStalled)
}
