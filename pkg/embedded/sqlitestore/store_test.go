package sqlitestore

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/docstoretest"
)

// crashEnv makes the test binary the process that the crash test kills.
const crashEnv = "SQLITESTORE_TEST_CRASH"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		commitForever(path)
	}
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	docstoretest.Run(t, func(t *testing.T, schema docstore.Schema) docstore.Driver {
		t.Helper()
		s, err := Open(t.Context(), filepath.Join(t.TempDir(), "docs.db"), schema, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, docstoretest.Features{})
}
