package gcptest_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"codexgateway.dev/pkg/gcp/gcptest"
)

func TestAnEmulatorServesStopsAndComesBackAtItsAddress(t *testing.T) {
	t.Parallel()
	e, err := gcptest.StartEmulator(t.Context(), gcptest.PubSub, "")
	if errors.Is(err, gcptest.ErrNoEmulators) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	reachable(t, e.Addr, true)
	if err := e.Stop(); err != nil {
		t.Fatal(err)
	}
	reachable(t, e.Addr, false)
	if err := e.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	reachable(t, e.Addr, true)
}

func reachable(t *testing.T, addr string, want bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = conn.Close()
	}
	if (err == nil) != want {
		t.Fatalf("dial %s: %v, want reachable %t", addr, err, want)
	}
}

func TestWithoutTheSDKTheErrorSaysSo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := gcptest.StartEmulator(t.Context(), gcptest.Firestore, ""); !errors.Is(err, gcptest.ErrNoEmulators) {
		t.Errorf("error %v, want ErrNoEmulators", err)
	}
}
