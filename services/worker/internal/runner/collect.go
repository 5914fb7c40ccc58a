package runner

import (
	"bytes"
	"context"
	"errors"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/worker/internal/codex"
	"codexgateway.dev/services/worker/internal/pool"
)

// collect gathers what the turn left: the diff against the start, whoever made
// the changes, the last message, the workspace and the conversation. All are
// stored before the job ends, so a job that has ended has them.
func (u *run) collect(ctx context.Context, slot *pool.Slot, ws *space, thread codex.Thread, out *result) error {
	var diff, message, tree job.Artifact
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		d, err := ws.Diff(ctx)
		if err != nil {
			return err
		}
		if d.Truncated || len(d.Skipped) > 0 {
			u.log.WarnContext(ctx, "diff is not complete", slog.Bool("truncated", d.Truncated), slog.Int("skipped", len(d.Skipped)))
		}
		diff, err = u.Jobs.PutArtifact(ctx, &u.job, job.Artifact{Name: job.ArtifactDiff, ContentType: "text/x-diff; charset=utf-8"}, d.Patch)
		return err
	})
	g.Go(func() (err error) {
		message, err = u.Jobs.PutArtifact(ctx, &u.job, job.Artifact{Name: job.ArtifactMessage, ContentType: "text/plain; charset=utf-8"}, []byte(out.content))
		return err
	})
	g.Go(func() (err error) {
		var packed bytes.Buffer
		if err := ws.Archive(ctx, &packed); err != nil {
			return err
		}
		tree, err = u.Jobs.PutArtifact(ctx, &u.job, job.Artifact{Name: job.ArtifactWorkspace, ContentType: "application/zstd"}, packed.Bytes())
		return err
	})
	g.Go(func() (err error) {
		out.thread, err = u.saveRollout(ctx, slot, thread)
		return err
	})
	err := g.Wait()
	for _, a := range []job.Artifact{diff, message, tree} {
		if a.Blob != "" && a.Size >= 0 {
			out.artifacts = append(out.artifacts, a)
		}
	}
	if out.thread != nil {
		out.thread.Workspace, out.thread.Origin = tree.Blob, ws.origin
	}
	if err != nil && stopping(ctx) && !errors.Is(err, context.Canceled) {
		u.log.WarnContext(ctx, "not all of a stopped job was collected", slog.Any("error", err))
		return nil
	}
	return err
}
