package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/client"
	"codexgateway.dev/pkg/eventlog"
)

func (a *app) watchCommand() *cobra.Command {
	var (
		after  int64
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "watch JOB",
		Short: "Follow a job to its end",
		Long: `Show a job's events as they come, from the start or after an event, until the
job ends. A lost connection is opened again where it broke off. Exits 1 when
the job did not complete.`,
		Args: oneArg("JOB", "job_…"),
		RunE: a.calling(func(ctx context.Context, c *client.Client, args []string) error {
			if after < 0 {
				return usagef("--after %d is negative", after).hint("It is the number of the last event you have seen.")
			}
			return a.follow(ctx, c, args[0], after, asJSON)
		}),
	}
	cmd.Flags().Int64Var(&after, "after", 0, "start after the event with this `SEQ`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each event as a line of JSON")
	return cmd
}

// follow shows a job to its end. The error is errJobFailed when the job ended
// in another state than completed.
func (a *app) follow(ctx context.Context, c *client.Client, jobID string, after int64, asJSON bool) error {
	view := a.view(asJSON)
	ended := ""
	last, err := c.Watch(ctx, jobID, after, func(e apiv1.Event) error {
		if eventlog.Terminal(e.Type) {
			ended = e.Type
		}
		return view.Event(e)
	})
	if closed := view.Close(); err == nil {
		err = closed
	}
	if err != nil {
		if errors.Is(err, errInterrupted) || errors.Is(err, client.ErrUnreachable) {
			a.note("the job goes on; follow it again with: codexgw watch %s --after %d, or stop it with: codexgw cancel %s", jobID, last, jobID)
		}
		return err
	}
	if !asJSON {
		a.mentionPatch(ctx, c, jobID)
	}
	if ended == "" { // its end was seen before
		job, err := c.GetJob(ctx, jobID)
		if err != nil {
			return err
		}
		ended = "job." + job.Status
	}
	if ended != eventlog.TypeCompleted {
		return errJobFailed
	}
	return nil
}
