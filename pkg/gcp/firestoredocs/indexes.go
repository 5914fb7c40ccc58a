package firestoredocs

import (
	"cmp"
	"fmt"
	"slices"

	"codexgateway.dev/pkg/docstore"
)

// Declarations is what a Firestore database must be given for a schema. It is
// data: Terraform reads its JSON.
type Declarations struct {
	// Indexes are the composite indexes, one for each direction that is read.
	Indexes []CompositeIndex `json:"indexes"`
	// Exemptions are fields without automatic single-field indexes: what no
	// query needs is not indexed, for the time and storage of each write, and
	// because an indexed timestamp bounds a collection to 500 writes/s.
	Exemptions []CollectionField `json:"exemptions"`
	// TTL are timestamp fields after which Firestore deletes a document, within
	// 24 hours. Each is exempt too, and Terraform has one resource per field.
	TTL []CollectionField `json:"ttl"`
}

// CompositeIndex is one index in collection scope. The name of the document
// follows the fields in the direction of the last, as is Firestore's default.
type CompositeIndex struct {
	Collection string       `json:"collection"`
	Fields     []IndexField `json:"fields"`
}

// IndexField is a field of an index.
type IndexField struct {
	Path string `json:"path"`
	// Order is ASCENDING or DESCENDING.
	Order string `json:"order"`
}

// CollectionField names a field of a collection.
type CollectionField struct {
	Collection string `json:"collection"`
	Field      string `json:"field"`
}

const (
	ascending  = "ASCENDING"
	descending = "DESCENDING"
)

// Indexes returns the declarations of a schema, in a stable order. A query of an
// index without equality runs on the automatic index of its field, which works
// in both directions. The error is ErrInvalid for a schema that Firestore cannot
// hold.
func Indexes(schema docstore.Schema) (Declarations, error) {
	if err := checkSchema(schema); err != nil {
		return Declarations{}, err
	}
	return declarations(schema), nil
}

func declarations(schema docstore.Schema) Declarations {
	d := Declarations{Indexes: []CompositeIndex{}, Exemptions: []CollectionField{}, TTL: []CollectionField{}}
	for _, c := range schema {
		automatic := make(map[string]bool)
		for _, ix := range c.Indexes {
			if len(ix.Equal) == 0 {
				automatic[ix.Order] = true
				continue
			}
			if ix.Reads(false) {
				d.Indexes = append(d.Indexes, composite(c.Name, ix, ascending))
			}
			if ix.Reads(true) {
				d.Indexes = append(d.Indexes, composite(c.Name, ix, descending))
			}
		}
		own := []string{fieldData, fieldRev}
		if c.Expires != "" {
			own = append(own, fieldExpireTime)
			d.TTL = append(d.TTL, CollectionField{Collection: c.Name, Field: fieldExpireTime})
		}
		for _, name := range own {
			d.Exemptions = append(d.Exemptions, CollectionField{Collection: c.Name, Field: name})
		}
		for _, f := range c.Fields {
			if !automatic[f.Name] {
				d.Exemptions = append(d.Exemptions, CollectionField{Collection: c.Name, Field: f.Name})
			}
		}
	}
	slices.SortFunc(d.Indexes, compareIndexes)
	// Two declared indexes over the same fields are one of Firestore's.
	d.Indexes = slices.CompactFunc(d.Indexes, func(a, b CompositeIndex) bool { return compareIndexes(a, b) == 0 })
	byName := func(a, b CollectionField) int {
		return cmp.Or(cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.Field, b.Field))
	}
	slices.SortFunc(d.Exemptions, byName)
	slices.SortFunc(d.TTL, byName)
	return d
}

func composite(collection string, ix docstore.Index, order string) CompositeIndex {
	out := CompositeIndex{Collection: collection}
	for _, name := range ix.Equal {
		out.Fields = append(out.Fields, IndexField{Path: name, Order: ascending})
	}
	out.Fields = append(out.Fields, IndexField{Path: ix.Order, Order: order})
	return out
}

func compareIndexes(a, b CompositeIndex) int {
	return cmp.Or(
		cmp.Compare(a.Collection, b.Collection),
		slices.CompareFunc(a.Fields, b.Fields, func(x, y IndexField) int {
			return cmp.Or(cmp.Compare(x.Path, y.Path), cmp.Compare(x.Order, y.Order))
		}))
}

// Firestore's limits that a schema can exceed. The size of a document cannot:
// docstore's bounds keep one with all its fields at their largest below 1 MiB.
const (
	// maxEntryBytes is for one entry of an index.
	maxEntryBytes = 7680
	// entryOverhead is what an entry holds besides the document's id and the
	// values: the collection twice, the parent and the entry's own bytes.
	entryOverhead = 256
	// maxComposite and maxSingle are for a database (single-field configurations
	// are what exemptions and TTL policies are).
	maxComposite = 1000
	maxSingle    = 200
)

// checkSchema returns ErrInvalid for a schema that is not valid, or that
// Firestore cannot hold.
func checkSchema(schema docstore.Schema) error {
	if err := schema.Validate(); err != nil {
		return fmt.Errorf("firestore: %w", err)
	}
	for _, c := range schema {
		for _, ix := range c.Indexes {
			size := entryOverhead + docstore.MaxIDBytes
			for _, name := range append(slices.Clone(ix.Equal), ix.Order) {
				switch kind, _ := c.Kind(name); kind {
				case docstore.String:
					size += docstore.MaxFieldBytes + 1
				case docstore.Int:
					size += 8
				}
			}
			if size > maxEntryBytes {
				return fmt.Errorf("%w: firestore: an entry of index %s.%s may have %d bytes, at most %d", docstore.ErrInvalid, c.Name, ix.Name, size, maxEntryBytes)
			}
		}
	}
	d := declarations(schema)
	if len(d.Indexes) > maxComposite || len(d.Exemptions) > maxSingle {
		return fmt.Errorf("%w: firestore: %d composite indexes, at most %d, and %d exemptions, at most %d",
			docstore.ErrInvalid, len(d.Indexes), maxComposite, len(d.Exemptions), maxSingle)
	}
	return nil
}
