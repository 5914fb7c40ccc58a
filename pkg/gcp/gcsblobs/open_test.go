package gcsblobs_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/gcp/gcsblobs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, gcptest.Leaks()...) }

const name = "artifacts"

// opened is a bucket on a server of its own.
func opened(t *testing.T, cfg gcsblobs.Config) (*blob.Bucket, *gcptest.Storage) {
	t.Helper()
	server := gcptest.NewStorage(t, name)
	cfg.Bucket, cfg.Emulator = name, server.Addr
	return open(t, cfg), server
}

func open(t *testing.T, cfg gcsblobs.Config) *blob.Bucket {
	t.Helper()
	b, err := gcsblobs.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

func put(t *testing.T, b *blob.Bucket, key, text string) {
	t.Helper()
	if err := b.WriteAll(t.Context(), key, []byte(text), nil); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func has(t *testing.T, b *blob.Bucket, key, want string) {
	t.Helper()
	got, err := b.ReadAll(t.Context(), key)
	if err != nil || string(got) != want {
		t.Errorf("%s is %q %v, want %q", key, got, err, want)
	}
}

func TestBlobsAreWrittenReadListedCopiedAndDeleted(t *testing.T) {
	t.Parallel()
	b, _ := opened(t, gcsblobs.Config{})
	big := strings.Repeat("0123456789abcdef", 640<<10) // 10 MiB: three chunks
	put(t, b, "jobs/1/big", big)
	put(t, b, "jobs/1/empty", "")
	put(t, b, "jobs/1/ä b?\"#", "odd")
	has(t, b, "jobs/1/big", big)
	has(t, b, "jobs/1/empty", "")
	has(t, b, "jobs/1/ä b?\"#", "odd")
	put(t, b, "jobs/1/big", "replaced")
	has(t, b, "jobs/1/big", "replaced")
	r, err := b.NewRangeReader(t.Context(), "jobs/1/big", 2, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "pla" {
		t.Errorf("range: %q %v", got, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := b.Copy(t.Context(), "jobs/2/copy", "jobs/1/big", nil); err != nil {
		t.Errorf("copy: %v", err)
	}
	if err := b.Delete(t.Context(), "jobs/1/big"); err != nil {
		t.Errorf("delete: %v", err)
	}
	var names []string
	for it := b.List(&blob.ListOptions{}); ; {
		o, err := it.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, o.Key)
	}
	if got := strings.Join(names, " "); got != "jobs/1/empty jobs/1/ä b?\"# jobs/2/copy" {
		t.Errorf("listed %s", got)
	}
}

func TestAnUploadWhoseAnswerWasLostSucceeds(t *testing.T) {
	t.Parallel()
	for label, text := range map[string]string{"in one request": "new", "in chunks": strings.Repeat("n", 9<<20)} {
		for what, before := range map[string]string{"a new blob": "", "a replaced blob": "old"} {
			t.Run(label+", "+what, func(t *testing.T) {
				t.Parallel()
				b, server := opened(t, gcsblobs.Config{})
				if before != "" {
					put(t, b, "x", before)
				}
				method := http.MethodPost
				if len(text) > 8<<20 {
					method = http.MethodPut // the chunks; the last one stores it
				}
				server.Fail(gcptest.Fault{Method: method, Path: "/upload/", Status: http.StatusServiceUnavailable, Applied: true})
				put(t, b, "x", text)
				has(t, b, "x", text)
			})
		}
	}
}

func TestAnUploadNeverReplacesWhatAnotherWroteMeanwhile(t *testing.T) {
	t.Parallel()
	for what, before := range map[string]string{"a new blob": "", "a replaced blob": "old"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b, _ := opened(t, gcsblobs.Config{})
			if before != "" {
				put(t, b, "x", before)
			}
			slow, err := b.NewWriter(t.Context(), "x", &blob.WriterOptions{ContentType: "text/plain"})
			if err != nil {
				t.Fatal(err)
			}
			put(t, b, "x", "newer")
			if _, err := io.WriteString(slow, "older"); err != nil {
				t.Fatal(err)
			}
			if err := slow.Close(); gcerrors.Code(err) != gcerrors.FailedPrecondition {
				t.Errorf("error %v, want FailedPrecondition", err)
			}
			has(t, b, "x", "newer")
		})
	}
}

func TestIfNotExistRefusesAnExistingBlob(t *testing.T) {
	t.Parallel()
	b, server := opened(t, gcsblobs.Config{})
	once := &blob.WriterOptions{IfNotExist: true}
	server.Fail(gcptest.Fault{Method: http.MethodPost, Path: "/upload/", Status: http.StatusBadGateway, Applied: true})
	if err := b.WriteAll(t.Context(), "x", []byte("first"), once); err != nil {
		t.Fatalf("first: %v", err)
	}
	if err := b.WriteAll(t.Context(), "x", []byte("second"), once); gcerrors.Code(err) != gcerrors.FailedPrecondition {
		t.Errorf("second: error %v, want FailedPrecondition", err)
	}
	has(t, b, "x", "first")
}

func TestAnAbandonedUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	b, _ := opened(t, gcsblobs.Config{})
	ctx, abandon := context.WithCancel(t.Context())
	defer abandon()
	w, err := b.NewWriter(ctx, "x", &blob.WriterOptions{ContentType: "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 9<<20)); err != nil {
		t.Fatal(err)
	}
	abandon()
	if err := w.Close(); err == nil {
		t.Error("an abandoned upload succeeded")
	}
	if ok, err := b.Exists(t.Context(), "x"); ok || err != nil {
		t.Errorf("the blob exists: %t %v", ok, err)
	}
}

func TestAnswersOfTheServiceAreTyped(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]gcerrors.ErrorCode{
		http.StatusBadRequest:          gcerrors.InvalidArgument,
		http.StatusUnauthorized:        gcerrors.PermissionDenied,
		http.StatusForbidden:           gcerrors.PermissionDenied,
		http.StatusNotFound:            gcerrors.NotFound,
		http.StatusPreconditionFailed:  gcerrors.FailedPrecondition,
		http.StatusTooManyRequests:     gcerrors.ResourceExhausted,
		http.StatusInternalServerError: gcerrors.Internal,
		http.StatusServiceUnavailable:  gcerrors.Internal,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			b, server := opened(t, gcsblobs.Config{})
			put(t, b, "x", "text")
			server.Fail(gcptest.Fault{Status: status, Times: 1 << 20})
			var all sync.WaitGroup
			for call, do := range map[string]func() error{
				"read":       func() error { _, err := b.ReadAll(t.Context(), "x"); return err },
				"write":      func() error { return b.WriteAll(t.Context(), "x", nil, nil) },
				"attributes": func() error { _, err := b.Attributes(t.Context(), "x"); return err },
				"list":       func() error { _, _, err := b.ListPage(t.Context(), blob.FirstPageToken, 1, nil); return err },
				"delete":     func() error { return b.Delete(t.Context(), "x") },
			} {
				all.Go(func() {
					err := do()
					if gcerrors.Code(err) != want && (call != "write" || want != gcerrors.NotFound) {
						t.Errorf("%s: code %v (%v), want %v", call, gcerrors.Code(err), err, want)
					}
				})
			}
			all.Wait()
		})
	}
}

func TestPassingFailuresAreNotSeen(t *testing.T) {
	t.Parallel()
	b, server := opened(t, gcsblobs.Config{})
	for _, status := range []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		server.Fail(gcptest.Fault{Method: http.MethodPost, Status: status})
		put(t, b, "x", "text")
		server.Fail(gcptest.Fault{Method: http.MethodGet, Status: status, Times: 2})
		has(t, b, "x", "text")
	}
}

func TestWritesFailWithWhatTheServiceSays(t *testing.T) {
	t.Parallel()
	b, server := opened(t, gcsblobs.Config{})
	server.Fail(gcptest.Fault{Method: http.MethodPost, Status: http.StatusForbidden})
	if err := b.WriteAll(t.Context(), "x", []byte("text"), nil); gcerrors.Code(err) != gcerrors.PermissionDenied {
		t.Errorf("error %v, want PermissionDenied", err)
	}
	server.Fail(gcptest.Fault{Method: http.MethodGet, Status: http.StatusForbidden})
	if err := b.WriteAll(t.Context(), "x", []byte("text"), nil); gcerrors.Code(err) != gcerrors.PermissionDenied {
		t.Errorf("error %v, want PermissionDenied", err)
	}
}

func TestAMissingBucketIsNotFoundAndWorksOnceItIsThere(t *testing.T) {
	t.Parallel()
	server := gcptest.NewStorage(t)
	b := open(t, gcsblobs.Config{Bucket: "late", Emulator: "http://" + server.Addr + "/"})
	if err := b.WriteAll(t.Context(), "x", nil, nil); gcerrors.Code(err) != gcerrors.NotFound {
		t.Errorf("write: error %v, want NotFound", err)
	}
	if ok, err := b.IsAccessible(t.Context()); ok || err != nil {
		t.Errorf("accessible %t %v", ok, err)
	}
	server.CreateBucket("late")
	put(t, b, "x", "text")
	has(t, b, "x", "text")
}

func TestARequestInWhichNothingMovesEnds(t *testing.T) {
	t.Parallel()
	b, server := opened(t, gcsblobs.Config{Stall: time.Second})
	put(t, b, "x", "text")
	server.Fail(gcptest.Fault{Hang: true, Times: 4})
	if _, err := b.ReadAll(t.Context(), "x"); gcerrors.Code(err) != gcerrors.DeadlineExceeded {
		t.Errorf("error %v, want DeadlineExceeded", err)
	}
	server.Fail(gcptest.Fault{Hang: true})
	has(t, b, "x", "text") // the second try
}

func TestAServerThatIsAwayIsAnErrorAndNoHang(t *testing.T) {
	t.Parallel()
	b, server := opened(t, gcsblobs.Config{})
	put(t, b, "x", "text")
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReadAll(t.Context(), "x"); err == nil {
		t.Error("read from a stopped server")
	}
}

func TestOpenNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for label, cfg := range map[string]gcsblobs.Config{"bucket": {Emulator: "127.0.0.1:1"}, "credentials": {Bucket: "b"}} {
		if b, err := gcsblobs.Open(t.Context(), cfg); err == nil {
			_ = b.Close()
			t.Errorf("opened without %s", label)
		}
	}
}
