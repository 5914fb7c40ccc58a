package runner

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/blob/memblob"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/job/jobtest"
)

// gone is a bucket that does not answer any more.
func gone(t *testing.T) error {
	t.Helper()
	b := memblob.OpenBucket(nil)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := b.NewReader(t.Context(), "x", nil)
	return err
}

// missing is the answer of a bucket that has no such blob.
func missing(t *testing.T) error {
	t.Helper()
	b := memblob.OpenBucket(nil)
	defer b.Close()
	_, err := b.Attributes(t.Context(), "x")
	return err
}

func TestABucketIsWaitedFor(t *testing.T) {
	t.Parallel()
	_, local := os.ReadFile(t.TempDir())
	for name, c := range map[string]struct {
		err    error
		fails  int
		tries  int
		code   errs.Code
		within time.Duration
	}{
		"at once":             {nil, 0, 1, "", 0},
		"away for a while":    {gone(t), 8, 9, "", time.Minute},
		"away":                {gone(t), 1000, 28, errs.StorageUnavailable, bucketTime},
		"nothing there":       {missing(t), 1000, 1, errs.Internal, 0},
		"a directory, broken": {local, 1000, 1, errs.Internal, 0},
		"garbled":             {json.Unmarshal([]byte("{"), new(int)), 1000, 1, errs.Internal, 0},
		"cancelled":           {context.Canceled, 1000, 1, errs.Internal, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				u := &run{log: slog.New(slog.DiscardHandler)}
				began, tries := time.Now(), 0
				err := u.insistBlob(t.Context(), "test", func(context.Context) error {
					if tries++; tries <= c.fails {
						return c.err
					}
					return nil
				})
				if tries != c.tries || (err == nil) != (c.code == "") || err != nil && errs.CodeOf(err) != c.code {
					t.Errorf("%d tries, %v; want %d and code %q", tries, err, c.tries, c.code)
				}
				if took := time.Since(began); took > c.within {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// A run that is stopped does not wait for the bucket.
func TestAStoppedRunDoesNotWaitForTheBucket(t *testing.T) {
	t.Parallel()
	away := gone(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancelCause(t.Context())
		u := &run{log: slog.New(slog.DiscardHandler)}
		began := time.Now()
		time.AfterFunc(time.Second, func() { stop(errCancelled) })
		if err := u.insistBlob(ctx, "test", func(context.Context) error { return away }); err == nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestAnArtifactIsStoredWhenTheBucketIsBack(t *testing.T) {
	t.Parallel()
	env := jobtest.New(t)
	u, ctx := runOf(t, env, nil)
	put, fails := env.Jobs.PutBlob, 1
	env.Jobs.PutBlob = func(ctx context.Context, name string, data []byte) error {
		if fails--; fails >= 0 {
			return errors.New("503")
		}
		return put(ctx, name, data)
	}
	a, err := u.put(ctx, job.Artifact{Name: job.ArtifactDiff}, []byte("text"))
	if err != nil || a.Blob == "" || a.Size != 4 {
		t.Fatalf("%+v, %v", a, err)
	}
	if raw, err := env.Jobs.Blobs.ReadAll(ctx, a.Blob); err != nil || string(raw) != "text" {
		t.Errorf("%q, %v", raw, err)
	}
}
