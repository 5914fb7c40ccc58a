package edge_test

import (
	"context"
	"net"
	"testing"
	"time"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/edge/internal/edgetest"
)

// build makes an edge that is not run.
func build(t *testing.T, addr string) *edge.Service {
	t.Helper()
	env := edgetest.Open(t)
	svc, err := edge.New(edge.Config{
		Listen: chassis.ListenConfig{Addr: addr}, AdminKey: secret.NewValue(adminKey),
	}, edge.Deps{
		Jobs: env.Jobs, Docs: env.Platform.Docs, Bus: env.Platform.Bus, Secrets: env.Platform.Secrets, Blobs: env.Platform.Blobs,
		Health: chassis.NewHealth(env.Log), Logger: env.Log, Now: time.Now, Version: "1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

// TestStopAtAnyMoment stops while the service starts, again and again: it must
// come back without a leak.
func TestStopAtAnyMoment(t *testing.T) {
	t.Parallel()
	for i := range 10 {
		svc := build(t, "127.0.0.1:0")
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*300*time.Microsecond)
		_ = svc.Run(ctx) // an interrupted start is an error, a stop is not
		cancel()
	}
}

func TestTakenPortFailsTheStart(t *testing.T) {
	t.Parallel()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := build(t, ln.Addr().String()).Run(t.Context()); err == nil {
		t.Error("Run served on a taken port")
	}
}
