package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"codexgateway.dev/pkg/client"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/standalone/internal/gitpatch"
	"codexgateway.dev/services/standalone/internal/termsafe"
)

// patchName is the artifact that holds a job's changes.
const patchName = "diff.patch"

func (a *app) diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff JOB",
		Short: "Print what a job changed",
		Long: `Print the job's patch: in colour on a terminal, byte for byte elsewhere, so that
it can be piped into "git apply".`,
		Args: oneArg("JOB", "job_…"),
		RunE: a.calling(func(ctx context.Context, c *client.Client, args []string) error {
			patch, err := a.patch(ctx, c, args[0])
			if err != nil || len(patch) == 0 {
				return err
			}
			if _, ok := a.Terminal(a.Stdout); ok {
				return gitpatch.Colorize(a.Stdout, patch, a.color())
			}
			_, err = a.Stdout.Write(patch)
			return err
		}),
	}
}

// patch is a job's patch, nil when the job changed nothing.
func (a *app) patch(ctx context.Context, c *client.Client, jobID string) ([]byte, error) {
	var patch bytes.Buffer
	_, err := c.DownloadArtifact(ctx, jobID, patchName, &patch)
	if err == nil && patch.Len() > 0 {
		return patch.Bytes(), nil
	}
	if err != nil && !errors.Is(err, &client.Error{Code: errs.NotFound}) {
		return nil, err
	}
	job, err := c.GetJob(ctx, jobID) // an unknown job is not one that changed nothing
	if err != nil {
		return nil, err
	}
	if job.EndedAt == "" {
		return nil, &hintedError{
			error: fmt.Errorf("job %s is %s: it has no patch yet", jobID, job.Status),
			todo:  "Wait for its end with: codexgw watch " + jobID,
		}
	}
	a.note("job %s changed no file", jobID)
	return nil, nil
}

// mentionPatch tells of the patch of a job that ended, if there is anything in
// it. It is a remark: without an answer there is none.
func (a *app) mentionPatch(ctx context.Context, c *client.Client, jobID string) {
	list, err := c.Artifacts(ctx, jobID)
	if err != nil {
		return
	}
	for i := range list {
		if list[i].Name == patchName && list[i].Size > 0 {
			a.note("see the changes with: codexgw diff %s, or take them over with: codexgw apply %s", jobID, jobID)
		}
	}
}

func (a *app) applyCommand() *cobra.Command {
	var threeWay bool
	cmd := &cobra.Command{
		Use:   "apply JOB",
		Short: "Apply a job's changes to the git work tree here",
		Long: `Apply the job's patch to the files of the git work tree around the working
directory. It applies whole or not at all. With --3way, what does not fit is
merged and may leave conflict markers.`,
		Args: oneArg("JOB", "job_…"),
		RunE: a.calling(func(ctx context.Context, c *client.Client, args []string) error {
			patch, err := a.patch(ctx, c, args[0])
			if err != nil || len(patch) == 0 {
				return err
			}
			files, err := gitpatch.Apply(ctx, patch, gitpatch.Options{Dir: a.Dir, ThreeWay: threeWay, LookupEnv: a.LookupEnv})
			if err != nil {
				return a.notApplied(err, args[0])
			}
			return a.printFiles(files)
		}),
	}
	cmd.Flags().BoolVar(&threeWay, "3way", false, "merge where the patch does not fit; may leave conflict markers")
	return cmd
}

// notApplied explains a conflict.
func (a *app) notApplied(err error, jobID string) error {
	var conflict *gitpatch.ConflictError
	if !errors.As(err, &conflict) {
		return err
	}
	todo := strings.Join(conflict.Reasons, "\n")
	if conflict.Merged {
		todo += "\nLook for <<<<<<< in the files, decide, and git add them."
	} else {
		todo += "\nCheck out the commit the job started from, or merge with: codexgw apply --3way " + jobID
	}
	return &hintedError{error: err, todo: todo}
}

func (a *app) printFiles(files []gitpatch.File) error {
	rows := make([][]string, 0, len(files))
	for _, f := range files {
		change := fmt.Sprintf("+%d -%d", f.Added, f.Removed)
		if f.Added < 0 {
			change = "binary"
		}
		rows = append(rows, []string{change, termsafe.Line(f.Path)})
	}
	return a.table(rows)
}
