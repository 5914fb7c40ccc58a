package secretversions_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/gcp/secretversions"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/pkg/secret/secrettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, gcptest.Leaks()...) }

const project = "p"

func open(t *testing.T) (*secretversions.Driver, *gcptest.Secrets) {
	t.Helper()
	server := gcptest.NewSecrets(t)
	d, err := secretversions.Open(t.Context(), secretversions.Config{Project: project, Emulator: server.Addr})
	if err != nil {
		t.Fatal(err)
	}
	return d, server
}

func opened(t *testing.T) (*secretversions.Driver, *gcptest.Secrets) {
	t.Helper()
	d, server := open(t)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, server
}

func TestConformance(t *testing.T) {
	t.Parallel()
	secrettest.Run(t, func(t *testing.T) secrettest.Platform {
		t.Helper()
		d, server := open(t)
		return secrettest.Platform{
			Driver: d,
			Put:    func(name, value string) { server.Add(project, name, value) },
			Delete: func(name string) { server.Delete(project, name) },
		}
	})
}

func TestOnlyAnEnabledNewestVersionIsServed(t *testing.T) {
	t.Parallel()
	d, server := opened(t)
	server.Add(project, "key", "old")
	server.Add(project, "key", "new")
	for _, state := range []secretmanagerpb.SecretVersion_State{secretmanagerpb.SecretVersion_DISABLED, secretmanagerpb.SecretVersion_DESTROYED} {
		server.Set(project, "key", state)
		if v, err := d.Latest(t.Context(), "key"); !errors.Is(err, secret.ErrNotFound) || !v.Empty() {
			t.Errorf("%s: error %v, want ErrNotFound", state, err)
		}
	}
	server.Set(project, "key", secretmanagerpb.SecretVersion_ENABLED)
	if v, err := d.Latest(t.Context(), "key"); err != nil || v.Reveal() != "new" {
		t.Errorf("enabled: %v", err)
	}
}

func TestADamagedPayloadIsNeverServed(t *testing.T) {
	t.Parallel()
	d, server := opened(t)
	server.Add(project, "key", "value")
	server.Corrupt(true)
	if v, err := d.Latest(t.Context(), "key"); err == nil || errors.Is(err, secret.ErrNotFound) || !v.Empty() {
		t.Errorf("error %v, want one that is not ErrNotFound", err)
	}
	server.Corrupt(false)
	if _, err := d.Latest(t.Context(), "key"); err != nil {
		t.Error(err)
	}
}

func TestFailuresOfTheServiceAreNotNotFound(t *testing.T) {
	t.Parallel()
	d, server := opened(t)
	server.Add(project, "key", "value")
	lasting := []codes.Code{codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument}
	passing := []codes.Code{codes.Internal, codes.Aborted, codes.DeadlineExceeded}
	for _, code := range slices.Concat(lasting, passing) {
		server.Fail(code, 1)
		v, err := d.Latest(t.Context(), "key")
		if err == nil || errors.Is(err, secret.ErrNotFound) || !v.Empty() {
			t.Errorf("%s: error %v", code, err)
		}
		if want := slices.Contains(passing, code); errors.Is(err, secret.ErrUnavailable) != want {
			t.Errorf("%s: error %v, unavailable %t wanted", code, err, want)
		}
	}
	server.Fail(codes.Unavailable, 2)
	if _, err := d.Latest(t.Context(), "key"); err != nil {
		t.Errorf("after a passing failure: %v", err)
	}
}

func TestAServiceThatIsAwayEndsWithTheDeadline(t *testing.T) {
	t.Parallel()
	d, server := opened(t)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := d.Latest(ctx, "key"); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, secret.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable for the deadline", err)
	}
}

func TestAClosedDriverSaysSo(t *testing.T) {
	t.Parallel()
	d, server := open(t)
	server.Add(project, "key", "value")
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Latest(t.Context(), "key"); !errors.Is(err, secret.ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

func TestManyCallersShareOneAccess(t *testing.T) {
	t.Parallel()
	d, server := open(t)
	server.Add(project, "key", "value")
	s := secret.New(d, secret.Options{})
	for range 20 {
		if _, err := s.Get(t.Context(), "key"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := server.Accesses(project, "key"); got != 1 {
		t.Errorf("%d accesses, want 1: each is paid for", got)
	}
}
