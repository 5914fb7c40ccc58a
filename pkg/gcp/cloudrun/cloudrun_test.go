package cloudrun_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"codexgateway.dev/pkg/gcp/cloudrun"
	"codexgateway.dev/pkg/gcp/gcptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, gcptest.Leaks()...) }

const (
	at      = "projects/p/locations/r"
	jobName = at + "/jobs/codexgw-job"
	poolIs  = at + "/workerPools/codexgw-pool"
)

func opened(t *testing.T, timeout time.Duration) (*cloudrun.Client, *gcptest.RunAdmin) {
	t.Helper()
	server := gcptest.NewRunAdmin(t)
	c, err := cloudrun.Open(t.Context(), cloudrun.Config{Project: "p", Region: "r", Endpoint: "http://" + server.Addr, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, server
}

func TestAnExecutionIsToldItsJob(t *testing.T) {
	t.Parallel()
	c, server := opened(t, 0)
	server.AddJob(jobName)
	if err := c.Job("codexgw-job", "CODEXGW_JOB_ID").Start(t.Context(), "job_1"); err != nil {
		t.Fatal(err)
	}
	name, err := c.StartExecution(t.Context(), "codexgw-job", map[string]string{"B": "2", "A": "", "C": "ä\n"})
	if err != nil || name != jobName+"/executions/e2" {
		t.Errorf("%s %v", name, err)
	}
	want := []gcptest.Execution{
		{Name: jobName + "/executions/e1", Env: map[string]string{"CODEXGW_JOB_ID": "job_1"}},
		{Name: jobName + "/executions/e2", Env: map[string]string{"A": "", "B": "2", "C": "ä\n"}},
	}
	if diff := cmp.Diff(want, server.Executions()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAPoolIsReadAndResizedAlsoToZero(t *testing.T) {
	t.Parallel()
	c, server := opened(t, 0)
	server.SetPool(poolIs, 2)
	pool := c.Pool("codexgw-pool")
	for _, n := range []int{2, 5, 0, 0, 1} {
		if err := pool.Resize(t.Context(), n); err != nil {
			t.Fatalf("resize to %d: %v", n, err)
		}
		if got, err := pool.Size(t.Context()); err != nil || got != n || server.Instances(poolIs) != int64(n) {
			t.Errorf("size %d %v, want %d", got, err, n)
		}
	}
	if got := server.Requests(http.MethodPatch); got != 3 {
		t.Errorf("%d patches for three changes", got)
	}
	if err := pool.Resize(t.Context(), -1); !errors.Is(err, cloudrun.ErrRefused) {
		t.Errorf("negative size: error %v, want ErrRefused", err)
	}
}

func TestAChangeBetweenReadAndPatchWins(t *testing.T) {
	t.Parallel()
	server := gcptest.NewRunAdmin(t)
	server.SetPool(poolIs, 1)
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: server.Addr})
	transport := &http.Transport{DisableKeepAlives: true}
	forward.Transport = transport
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			server.SetPool(poolIs, 7) // somebody else, just before
		}
		forward.ServeHTTP(w, r)
	}))
	defer between.Close()
	c, err := cloudrun.Open(t.Context(), cloudrun.Config{Project: "p", Region: "r", Endpoint: between.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetInstances(t.Context(), "codexgw-pool", 3); !errors.Is(err, cloudrun.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	if got := server.Instances(poolIs); got != 7 {
		t.Errorf("%d instances, want the other's 7", got)
	}
}

func TestAnswersAreTypedAndNothingIsRepeated(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{
		http.StatusBadRequest:          cloudrun.ErrRefused,
		http.StatusUnauthorized:        cloudrun.ErrRefused,
		http.StatusForbidden:           cloudrun.ErrRefused,
		http.StatusNotFound:            cloudrun.ErrNotFound,
		http.StatusConflict:            cloudrun.ErrUnavailable,
		http.StatusTooManyRequests:     cloudrun.ErrUnavailable,
		http.StatusInternalServerError: cloudrun.ErrUnavailable,
		http.StatusServiceUnavailable:  cloudrun.ErrUnavailable,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			c, server := opened(t, 0)
			server.AddJob(jobName)
			server.SetPool(poolIs, 1)
			server.Fail(gcptest.Fault{Method: http.MethodPost, Status: status})
			if _, err := c.StartExecution(t.Context(), "codexgw-job", nil); !errors.Is(err, want) {
				t.Errorf("start: error %v, want %v", err, want)
			}
			server.Fail(gcptest.Fault{Method: http.MethodGet, Status: status})
			if _, err := c.Instances(t.Context(), "codexgw-pool"); !errors.Is(err, want) {
				t.Errorf("get: error %v, want %v", err, want)
			}
			server.Fail(gcptest.Fault{Method: http.MethodPatch, Status: status})
			if err := c.SetInstances(t.Context(), "codexgw-pool", 2); !errors.Is(err, want) {
				t.Errorf("patch: error %v, want %v", err, want)
			}
			if n := len(server.Executions()); n != 0 || server.Instances(poolIs) != 1 {
				t.Errorf("%d executions, %d instances: a failed call had an effect", n, server.Instances(poolIs))
			}
		})
	}
}

func TestWhatDoesNotExistIsNotFound(t *testing.T) {
	t.Parallel()
	c, _ := opened(t, 0)
	if _, err := c.StartExecution(t.Context(), "none", nil); !errors.Is(err, cloudrun.ErrNotFound) {
		t.Errorf("job: error %v", err)
	}
	if _, err := c.Instances(t.Context(), "none"); !errors.Is(err, cloudrun.ErrNotFound) {
		t.Errorf("pool: error %v", err)
	}
	if err := c.SetInstances(t.Context(), "none", 1); !errors.Is(err, cloudrun.ErrNotFound) {
		t.Errorf("pool: error %v", err)
	}
}

func TestACallThatHangsEndsAndMayHaveWorked(t *testing.T) {
	t.Parallel()
	c, server := opened(t, 100*time.Millisecond)
	server.AddJob(jobName)
	server.Fail(gcptest.Fault{Hang: true})
	if _, err := c.StartExecution(t.Context(), "codexgw-job", nil); !errors.Is(err, cloudrun.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Instances(t.Context(), "codexgw-pool"); !errors.Is(err, cloudrun.ErrUnavailable) {
		t.Errorf("server away: error %v, want ErrUnavailable", err)
	}
}

func TestOpenNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, cfg := range []cloudrun.Config{{Project: "p", Endpoint: "http://x"}, {Region: "r", Endpoint: "http://x"}, {Project: "p", Region: "r"}} {
		if _, err := cloudrun.Open(t.Context(), cfg); err == nil {
			t.Errorf("opened %+v", cfg)
		}
	}
}
