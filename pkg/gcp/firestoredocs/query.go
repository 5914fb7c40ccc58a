package firestoredocs

import (
	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"codexgateway.dev/pkg/docstore"
)

// fieldName is the document's own name, by which ties are ordered. Firestore
// orders names and strings by their UTF-8 bytes.
const fieldName = "__name__"

// structured is the query as Firestore takes it: equality on the index's Equal
// fields, bounds on its Order field, ordered by that and the name in one
// direction. Ordering by a field leaves out the documents without it.
func (d *Driver) structured(c docstore.Collection, ix docstore.Index, q docstore.Query) (*firestorepb.StructuredQuery, error) {
	direction := firestorepb.StructuredQuery_ASCENDING
	if q.Desc {
		direction = firestorepb.StructuredQuery_DESCENDING
	}
	s := &firestorepb.StructuredQuery{
		From:  []*firestorepb.StructuredQuery_CollectionSelector{{CollectionId: c.Name}},
		Where: where(ix, q),
		OrderBy: []*firestorepb.StructuredQuery_Order{
			{Field: field(ix.Order), Direction: direction},
			{Field: field(fieldName), Direction: direction},
		},
		Limit: wrapperspb.Int32(int32(q.Limit)), //nolint:gosec // at most docstore.MaxPage
	}
	if q.Cursor == "" {
		return s, nil
	}
	kind, _ := c.Kind(ix.Order)
	at, err := docstore.DecodeCursor(q, kind)
	if err != nil {
		return nil, err
	}
	name := d.path(docstore.Key{Collection: c.Name, ID: at.ID})
	s.StartAt = &firestorepb.Cursor{ // not Before: after the position
		Values: []*firestorepb.Value{value(at.Order), {ValueType: &firestorepb.Value_ReferenceValue{ReferenceValue: name}}},
	}
	return s, nil
}

// where is the conjunction of the query's conditions; nil: none.
func where(ix docstore.Index, q docstore.Query) *firestorepb.StructuredQuery_Filter {
	var all []*firestorepb.StructuredQuery_Filter
	add := func(name string, op firestorepb.StructuredQuery_FieldFilter_Operator, v any) {
		all = append(all, &firestorepb.StructuredQuery_Filter{
			FilterType: &firestorepb.StructuredQuery_Filter_FieldFilter{
				FieldFilter: &firestorepb.StructuredQuery_FieldFilter{Field: field(name), Op: op, Value: value(v)},
			},
		})
	}
	for i, name := range ix.Equal {
		add(name, firestorepb.StructuredQuery_FieldFilter_EQUAL, q.Equal[i])
	}
	if q.From != nil {
		add(ix.Order, firestorepb.StructuredQuery_FieldFilter_GREATER_THAN_OR_EQUAL, q.From)
	}
	if q.To != nil {
		add(ix.Order, firestorepb.StructuredQuery_FieldFilter_LESS_THAN, q.To)
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return &firestorepb.StructuredQuery_Filter{
		FilterType: &firestorepb.StructuredQuery_Filter_CompositeFilter{
			CompositeFilter: &firestorepb.StructuredQuery_CompositeFilter{
				Op: firestorepb.StructuredQuery_CompositeFilter_AND, Filters: all,
			},
		},
	}
}

// field is a field's path. Declared names need no quotes in it.
func field(name string) *firestorepb.StructuredQuery_FieldReference {
	return &firestorepb.StructuredQuery_FieldReference{FieldPath: name}
}
