package errs_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/errs"
)

func TestErrorsMatchByCode(t *testing.T) {
	t.Parallel()
	cause := errors.New("disk on fire")
	err := fmt.Errorf("job: get: %w", errs.Wrap(errs.NotFound, "No such job.", cause))
	if !errors.Is(err, errs.New(errs.NotFound, "")) {
		t.Error("does not match its own code")
	}
	if errors.Is(err, errs.New(errs.Conflict, "No such job.")) {
		t.Error("matches another code")
	}
	if !errors.Is(err, cause) {
		t.Error("its cause is lost")
	}
	if errors.Is(err, errors.New("disk on fire")) {
		t.Error("matches by text")
	}
	var e *errs.Error
	if !errors.As(err, &e) || e.Public != "No such job." {
		t.Errorf("as = %#v", e)
	}
}

func TestFrom(t *testing.T) {
	t.Parallel()
	known := errs.Param("/a", "x")
	if got := errs.From(fmt.Errorf("wrapped: %w", known)); got != known {
		t.Errorf("from = %v, want the error itself", got)
	}
	cause := errors.New("dial tcp 10.0.0.1: refused")
	got := errs.From(cause)
	if got.Code != errs.Internal || !errors.Is(got, cause) || strings.Contains(got.Message(), "10.0.0.1") {
		t.Errorf("from = %v, want internal with the cause inside only", got)
	}
	for err, want := range map[error]errs.Code{known: errs.InvalidParams, cause: errs.Internal} {
		if got := errs.CodeOf(err); got != want {
			t.Errorf("code of %v = %s, want %s", err, got, want)
		}
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	if got := errs.Newf(errs.NotFound, "No job %d.", 7).Message(); got != "No job 7." {
		t.Errorf("message = %q", got)
	}
	if got, want := errs.New(errs.NotFound, "").Message(), errs.Lookup(errs.NotFound).Message; got != want {
		t.Errorf("message = %q, want the registry's %q", got, want)
	}
	err := errs.Wrap(errs.Overloaded, "Busy.", errors.New("queue full"))
	if got, want := err.Error(), "overloaded: Busy.: queue full"; got != want {
		t.Errorf("error = %q, want %q", got, want)
	}
}

func TestWithCopies(t *testing.T) {
	t.Parallel()
	first := errs.New(errs.RateLimited, "").With("a", 1)
	second := first.With("b", 2)
	if diff := cmp.Diff(map[string]any{"a": 1}, first.Data); diff != "" {
		t.Errorf("With changed its receiver:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"a": 1, "b": 2}, second.Data); diff != "" {
		t.Errorf("data:\n%s", diff)
	}
}

func TestLookupOfAnUnknownCode(t *testing.T) {
	t.Parallel()
	if got := errs.Lookup("from_the_future").Code; got != errs.Internal {
		t.Errorf("lookup = %s, want internal", got)
	}
}
