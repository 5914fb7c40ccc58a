package firestoredocs_test

import (
	"encoding/json"
	"testing"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/gcp/firestoredocs"
	"codexgateway.dev/pkg/schema"
)

func TestDeclarationsOnTheWire(t *testing.T) {
	t.Parallel()
	strings := func(names ...string) (fields []docstore.Field) {
		for _, n := range names {
			fields = append(fields, docstore.Field{Name: n, Kind: docstore.String})
		}
		return fields
	}
	d, err := firestoredocs.Indexes(docstore.Schema{
		{Name: "plain"},
		{
			Name:   "jobs",
			Fields: append(strings("tenant", "state", "unused"), docstore.Field{Name: "at", Kind: docstore.Int}, docstore.Field{Name: "expires_at", Kind: docstore.Int}),
			Indexes: []docstore.Index{
				{Name: "newest", Equal: []string{"tenant"}, Order: "at", Read: docstore.Descending},
				{Name: "both", Equal: []string{"tenant", "state"}, Order: "at", Read: docstore.BothWays},
				{Name: "oldest", Equal: []string{"state"}, Order: "at"},
				{Name: "oldest_again", Equal: []string{"state"}, Order: "at"},
				{Name: "expired", Order: "expires_at"},
			},
			Expires: "expires_at",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "indexes.json", got)
}

func TestTheGatewaysSchemaFitsFirestore(t *testing.T) {
	t.Parallel()
	all := schema.All()
	d, err := firestoredocs.Indexes(all)
	if err != nil {
		t.Fatal(err)
	}
	exempt := make(map[firestoredocs.CollectionField]bool)
	for _, e := range d.Exemptions {
		exempt[e] = true
	}
	for _, e := range d.TTL {
		if !exempt[e] {
			t.Errorf("the TTL field of %s is indexed", e.Collection)
		}
	}
	for _, c := range all {
		for _, ix := range c.Indexes {
			if automatic := len(ix.Equal) == 0; automatic && exempt[firestoredocs.CollectionField{Collection: c.Name, Field: ix.Order}] {
				t.Errorf("%s.%s has no index", c.Name, ix.Name)
			}
		}
	}
}
