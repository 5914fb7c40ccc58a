package runner

import (
	"bytes"
	"context"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/worker/internal/codex"
	"codexgateway.dev/services/worker/internal/pool"
)

// collect gathers what the turn left: the diff against the start, whoever made
// the changes, the last message, the workspace and the conversation. All are
// stored before the job ends, so a job that has ended has them. What fails does
// not keep the rest from being collected.
func (u *run) collect(ctx context.Context, slot *pool.Slot, ws *space, thread codex.Thread, out *result) error {
	var diff, message, tree job.Artifact
	var g errgroup.Group
	g.Go(func() (err error) {
		d, err := ws.Diff(ctx)
		if err != nil {
			return err
		}
		if d.Truncated || len(d.Skipped) > 0 {
			u.log.WarnContext(ctx, "diff is not complete", slog.Bool("truncated", d.Truncated), slog.Int("skipped", len(d.Skipped)))
		}
		diff, err = u.keep(ctx, job.Artifact{Name: job.ArtifactDiff, ContentType: "text/x-diff; charset=utf-8"}, d.Patch)
		return err
	})
	g.Go(func() (err error) {
		message, err = u.keep(ctx, job.Artifact{Name: job.ArtifactMessage, ContentType: "text/plain; charset=utf-8"}, []byte(out.content))
		return err
	})
	g.Go(func() (err error) {
		var packed bytes.Buffer
		if err := ws.Archive(ctx, &packed); err != nil {
			return err
		}
		tree, err = u.put(ctx, job.Artifact{Name: job.ArtifactWorkspace, ContentType: "application/zstd"}, packed.Bytes())
		return err
	})
	g.Go(func() (err error) {
		out.thread, err = u.saveRollout(ctx, slot, thread)
		return err
	})
	err := g.Wait()
	for _, a := range []job.Artifact{diff, message, tree} {
		if a.Blob != "" {
			out.artifacts = append(out.artifacts, a)
		}
	}
	switch {
	case out.thread == nil:
	case tree.Blob == "":
		out.thread = nil // a conversation never goes on without its files
	default:
		out.thread.Workspace, out.thread.Origin = tree.Blob, ws.origin
	}
	return err
}
