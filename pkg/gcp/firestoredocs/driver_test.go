package firestoredocs_test

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/docstoretest"
	"codexgateway.dev/pkg/gcp/firestoredocs"
	"codexgateway.dev/pkg/gcp/gcptest"
)

var cloud gcptest.Local

func TestMain(m *testing.M) {
	os.Exit(cloud.Main(m, func() error { return goleak.Find(gcptest.Leaks()...) }))
}

// project is a project id of the test's own, so an empty database.
func project() string { return "p-" + strings.ToLower(rand.Text()[:16]) }

// open returns a driver on an empty database of the shared emulator.
func open(tb testing.TB, schema docstore.Schema) *firestoredocs.Driver {
	tb.Helper()
	return openConfig(tb, firestoredocs.Config{Project: project(), Emulator: cloud.Firestore(tb)}, schema)
}

func openConfig(tb testing.TB, cfg firestoredocs.Config, schema docstore.Schema) *firestoredocs.Driver {
	tb.Helper()
	d, err := firestoredocs.Open(tb.Context(), cfg, schema)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return d
}

func TestDriver(t *testing.T) {
	t.Parallel()
	docstoretest.Run(t, func(t *testing.T, schema docstore.Schema) docstore.Driver {
		t.Helper()
		return open(t, schema)
	}, docstoretest.Features{CommitBytes: emulatorCommitBytes})
}

// emulatorCommitBytes is below the 4 MiB that the emulator takes in one request;
// the service takes 10 MiB.
const emulatorCommitBytes = 4<<20 - 64<<10
