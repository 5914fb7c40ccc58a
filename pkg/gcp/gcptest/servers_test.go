package gcptest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"codexgateway.dev/pkg/gcp/gcptest"
)

func get(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

func TestStorageInADirectorySurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := gcptest.StartStorage(t.Context(), gcptest.StorageConfig{Dir: dir, Buckets: []string{"b"}})
	if err != nil {
		t.Fatal(err)
	}
	addr := s.Addr
	if code, body := get(t, http.MethodPost, "http://"+addr+"/upload/storage/v1/b/b/o?uploadType=media&name=x", "text"); code != http.StatusOK {
		t.Fatalf("upload: %d %s", code, body)
	}
	for range 2 {
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	s, err = gcptest.StartStorage(t.Context(), gcptest.StorageConfig{Addr: addr, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if code, body := get(t, http.MethodGet, "http://"+addr+"/b/x", ""); code != http.StatusOK || body != "text" {
		t.Errorf("after the restart: %d %q", code, body)
	}
}

func TestNothingListensBeyondTheLoopback(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "localhost:0", "none"} {
		for name, start := range map[string]func(context.Context, string) (interface{ Stop() error }, error){
			"storage": func(ctx context.Context, a string) (interface{ Stop() error }, error) {
				return gcptest.StartStorage(ctx, gcptest.StorageConfig{Addr: a})
			},
			"secrets": func(ctx context.Context, a string) (interface{ Stop() error }, error) {
				return gcptest.StartSecrets(ctx, a)
			},
			"run": func(ctx context.Context, a string) (interface{ Stop() error }, error) {
				return gcptest.StartRunAdmin(ctx, a)
			},
		} {
			if s, err := start(t.Context(), addr); err == nil {
				_ = s.Stop()
				t.Errorf("%s listens on %s", name, addr)
			}
		}
	}
}

func TestFaultsAreUsedUpByTheRequestsTheyMean(t *testing.T) {
	t.Parallel()
	s := gcptest.NewStorage(t, "b")
	s.Fail(gcptest.Fault{Method: http.MethodGet, Path: "/b/", Status: http.StatusTeapot, Times: 2})
	for i, want := range []int{http.StatusTeapot, http.StatusTeapot, http.StatusOK} {
		if code, _ := get(t, http.MethodGet, "http://"+s.Addr+"/storage/v1/b/b", ""); code != want {
			t.Errorf("request %d: %d, want %d", i, code, want)
		}
	}
	s.Fail(gcptest.Fault{Method: http.MethodPost, Status: http.StatusBadGateway, Applied: true})
	if code, _ := get(t, http.MethodPost, "http://"+s.Addr+"/upload/storage/v1/b/b/o?uploadType=media&name=x", "text"); code != http.StatusBadGateway {
		t.Errorf("upload: %d", code)
	}
	if code, body := get(t, http.MethodGet, "http://"+s.Addr+"/b/x", ""); code != http.StatusOK || body != "text" {
		t.Errorf("the upload was not applied: %d %q", code, body)
	}
}
