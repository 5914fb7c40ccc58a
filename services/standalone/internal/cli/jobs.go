package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/client"
	"codexgateway.dev/services/standalone/internal/termsafe"
)

func (a *app) getCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "get JOB",
		Short: "Show a job",
		Args:  oneArg("JOB", "job_…"),
		RunE: a.calling(func(ctx context.Context, c *client.Client, args []string) error {
			var raw json.RawMessage
			if err := c.Call(ctx, apiv1.MethodJobGet, apiv1.JobRef{JobID: args[0]}, &raw); err != nil {
				return err
			}
			if asJSON {
				return a.printRaw(raw)
			}
			var job apiv1.Job
			if err := json.Unmarshal(raw, &job); err != nil {
				return fmt.Errorf("the gateway's answer: %w", err)
			}
			return a.printJob(&job)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func (a *app) printJob(j *apiv1.Job) error {
	rows := [][]string{{"job", j.JobID}, {"status", j.Status}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	if j.Error != nil {
		add("error", j.Error.Code+": "+j.Error.Message)
	}
	add("conversation", j.ConversationID)
	add("session", j.SessionID)
	add("model", j.Model)
	add("attempt", strconv.Itoa(j.Attempt))
	add("created", j.CreatedAt)
	add("started", j.StartedAt)
	add("ended", j.EndedAt)
	if u := j.Usage; u.TotalTokens > 0 {
		add("tokens", fmt.Sprintf("%d (%d in, %d cached, %d out)", u.TotalTokens, u.InputTokens, u.CachedInputTokens, u.OutputTokens))
	}
	keys := make([]string, 0, len(j.Metadata))
	for key := range j.Metadata {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		add("metadata", key+"="+j.Metadata[key])
	}
	add("artifacts", strings.Join(j.Artifacts, ", "))
	if err := a.table(rows); err != nil {
		return err
	}
	if j.Content == "" {
		return nil
	}
	_, err := fmt.Fprintf(a.Stdout, "\n%s\n", strings.TrimRight(termsafe.Text(j.Content), "\n"))
	return err
}

func (a *app) listCommand() *cobra.Command {
	var (
		params apiv1.JobListParams
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List jobs, newest first",
		Args:  noArgs,
		RunE: a.calling(func(ctx context.Context, c *client.Client, _ []string) error {
			var raw json.RawMessage
			if err := c.Call(ctx, apiv1.MethodJobList, params, &raw); err != nil {
				return err
			}
			if asJSON {
				return a.printRaw(raw)
			}
			var list apiv1.JobListResult
			if err := json.Unmarshal(raw, &list); err != nil {
				return fmt.Errorf("the gateway's answer: %w", err)
			}
			return a.printList(&list)
		}),
	}
	fl := cmd.Flags()
	fl.StringVar(&params.Status, "status", "", "only jobs in this state (queued, running, waiting, completed, failed, cancelled, timed_out)")
	fl.StringVar(&params.SessionID, "session", "", "only jobs of the conversation with this `NAME`")
	fl.IntVar(&params.Limit, "limit", 20, "how many, at most 200")
	fl.StringVar(&params.Cursor, "cursor", "", "go on where the last page ended")
	fl.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func (a *app) printList(list *apiv1.JobListResult) error {
	if len(list.Jobs) == 0 {
		a.note("no jobs")
		return nil
	}
	rows := [][]string{{"JOB", "STATUS", "CREATED", "TOOK", "TOKENS", "SESSION"}}
	for i := range list.Jobs {
		j := &list.Jobs[i]
		rows = append(rows, []string{
			j.JobID, j.Status, created(j.CreatedAt), took(j.StartedAt, j.EndedAt), strconv.FormatInt(j.Usage.TotalTokens, 10), j.SessionID,
		})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if list.NextCursor != "" {
		a.note("more with: codexgw list --cursor %s", list.NextCursor)
	}
	return nil
}

// created is a time without the noise: UTC to the second.
func created(at string) string {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return at
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// took is how long a finished job ran.
func took(started, ended string) string {
	from, err1 := time.Parse(time.RFC3339, started)
	to, err2 := time.Parse(time.RFC3339, ended)
	if err1 != nil || err2 != nil {
		return "-"
	}
	return to.Sub(from).Round(100 * time.Millisecond).String()
}

func (a *app) cancelCommand() *cobra.Command {
	var (
		reason string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "cancel JOB",
		Short: "Stop a job",
		Args:  oneArg("JOB", "job_…"),
		RunE: a.calling(func(ctx context.Context, c *client.Client, args []string) error {
			var raw json.RawMessage
			if err := c.Call(ctx, apiv1.MethodJobCancel, apiv1.JobCancelParams{JobID: args[0], Reason: reason}, &raw); err != nil {
				return err
			}
			if asJSON {
				return a.printRaw(raw)
			}
			var result apiv1.JobCancelResult
			if err := json.Unmarshal(raw, &result); err != nil {
				return fmt.Errorf("the gateway's answer: %w", err)
			}
			if result.Status == apiv1.StatusCancelled {
				return a.table([][]string{{result.JobID, "cancelled"}})
			}
			return a.table([][]string{{result.JobID, "is " + result.Status + " and was told to stop"}})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who look at the job later")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}
