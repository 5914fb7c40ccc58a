package runner

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"gocloud.dev/gcerrors"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/wait"
)

// A bucket that is away, or closed to us, is tried for bucketTime with pauses
// from bucketPause doubling to bucketMost: hours of work may be in what a turn
// left, and such faults are mostly over within a minute.
const (
	bucketTime  = 2 * time.Minute
	bucketPause = 250 * time.Millisecond
	bucketMost  = 5 * time.Second
)

// insistBlob calls the bucket until it answers, ctx ends, or there is no hope.
// The error then has the code that tells the client.
func (u *run) insistBlob(ctx context.Context, what string, call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bucketTime, errors.New("runner: the bucket was away for too long"))
	defer cancel()
	said := false
	for pause := bucketPause; ; pause = min(2*pause, bucketMost) {
		err := call(ctx)
		if err == nil {
			return nil
		}
		if !bucketHeals(err) {
			return err
		}
		if !said { // once, not once a try
			u.log.WarnContext(ctx, "bucket does not answer, trying again", slog.String("for", what), slog.Any("error", err))
			said = true
		}
		if !wait.For(ctx, pause) {
			return errs.Wrap(errs.StorageUnavailable, "", err)
		}
	}
}

// bucketHeals reports whether a call to a bucket may succeed later without a
// change of ours: not one that was cancelled or is wrong, nor where the bucket
// is a directory, which fails for good, nor where it answered with what cannot
// be read.
func bucketHeals(err error) bool {
	if _, local := errors.AsType[*fs.PathError](err); local {
		return false
	}
	if _, local := errors.AsType[*os.LinkError](err); local {
		return false
	}
	if _, garbled := errors.AsType[*json.SyntaxError](err); garbled {
		return false
	}
	//exhaustive:ignore // the service's other answers are about its own state
	switch gcerrors.Code(err) {
	case gcerrors.OK, gcerrors.NotFound, gcerrors.InvalidArgument, gcerrors.Unimplemented, gcerrors.Canceled:
		return false
	default:
		return true
	}
}

// put stores an artifact as a blob; one that could not be stored has none.
func (u *run) put(ctx context.Context, a job.Artifact, data []byte) (job.Artifact, error) {
	return u.insistArtifact(ctx, a, data, u.Jobs.PutArtifact)
}

// keep is put for what may stay in the job's document while it is small.
func (u *run) keep(ctx context.Context, a job.Artifact, data []byte) (job.Artifact, error) {
	return u.insistArtifact(ctx, a, data, u.Jobs.KeepArtifact)
}

// storeFunc stores an artifact of a job.
type storeFunc func(context.Context, *job.Job, job.Artifact, []byte) (job.Artifact, error)

func (u *run) insistArtifact(ctx context.Context, a job.Artifact, data []byte, store storeFunc) (stored job.Artifact, err error) {
	err = u.insistBlob(ctx, a.Name, func(ctx context.Context) (err error) {
		stored, err = store(ctx, &u.job, a, data)
		return err
	})
	if err != nil {
		return job.Artifact{}, err
	}
	return stored, nil
}
