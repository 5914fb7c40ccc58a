package job_test

import (
	"bytes"
	"slices"
	"testing"

	"gocloud.dev/gcerrors"

	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/job/jobtest"
)

func TestASmallArtifactIsABlobOnceThereIsALink(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		size   int
		inline bool
	}{"empty": {0, true}, "small": {8 << 10, true}, "large": {8<<10 + 1, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := jobtest.New(t)
			h := e.Claim(t, e.Submit(t, "p").ID, "w")
			data := bytes.Repeat([]byte{'x'}, tc.size)
			claimed := h.Job()
			a, err := e.Jobs.KeepArtifact(t.Context(), &claimed, job.Artifact{Name: job.ArtifactDiff}, data)
			if err != nil {
				t.Fatal(err)
			}
			finish(t, h, job.Result{State: job.Completed, Artifacts: []job.Artifact{a}})
			j, err := e.Jobs.Get(t.Context(), jobtest.Tenant, claimed.ID)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(j.Artifacts, func(a job.Artifact) bool { return a.Name == job.ArtifactDiff })
			stored := &j.Artifacts[i]
			if stored.Size != int64(tc.size) || stored.SHA256 == "" {
				t.Errorf("%+v", stored)
			}
			there, err := e.Blobs.Exists(t.Context(), stored.Blob)
			if err != nil || there == tc.inline {
				t.Errorf("there is a blob: %v %v", there, err)
			}
			for range 2 {
				if err := e.Jobs.LinkArtifact(t.Context(), stored); err != nil {
					t.Fatal(err)
				}
				got, err := e.Blobs.ReadAll(t.Context(), stored.Blob)
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes, %v (%v)", len(got), err, gcerrors.Code(err))
				}
			}
		})
	}
}
