package e2e_test

import (
	"net/http"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/gcp/gcptest"
)

// A job's result is not lost because its bucket is away when it ends.
func TestStorageThatFailsAtTheEndOfAJob(t *testing.T) {
	t.Parallel()
	cloudOnly(t, "the embedded platform's bucket is a directory")
	g := start(t, options{codex: fakePackage(t), env: map[string]string{"CODEXGW_ALLOW_UNSANDBOXED": "true"}})
	for _, tc := range []struct{ status, times int }{
		// More than the storage library tries by itself: four times, and once.
		{http.StatusServiceUnavailable, 10}, {http.StatusForbidden, 4},
	} {
		tests.cloud.Storage.Fail(gcptest.Fault{Method: http.MethodPost, Path: "/b/" + g.project.Bucket() + "/", Status: tc.status, Times: tc.times})
		o := g.run(t, "fake:write made.txt text")
		o.wantStatus(t, apiv1.StatusCompleted, "")
		if o.Attempt != 1 {
			t.Errorf("%d: attempt %d", tc.status, o.Attempt)
		}
		if files := g.workspace(t, o.JobID); files["made.txt"] != "text\n" && files["made.txt"] != "text" {
			t.Errorf("%d: the workspace holds %q", tc.status, files)
		}
	}
}
