package memstore_test

import (
	"testing"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/docstoretest"
	"codexgateway.dev/pkg/docstore/memstore"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	docstoretest.Run(t, func(t *testing.T, schema docstore.Schema) docstore.Driver {
		t.Helper()
		return memstore.New(schema)
	}, docstoretest.Features{})
}
