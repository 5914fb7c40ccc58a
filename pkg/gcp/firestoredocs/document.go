package firestoredocs

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"codexgateway.dev/pkg/docstore"
)

// The driver's own fields of a document. docstore.Schema refuses declared fields
// of these names, and none of them is indexed.
const (
	// fieldData holds the bytes.
	fieldData = "data"
	// fieldRev is the version that the write replaced, 0 for a create, and so
	// differs from the stored one at every write. Firestore keeps the update
	// time of a document that a write does not change: without it, two holders of
	// one version could both replace it by the same content, and both win.
	fieldRev = "rev"
	// fieldExpireTime is the collection's Expires field as a timestamp, the only
	// type that Firestore's TTL policies read.
	fieldExpireTime = "expire_time"
)

// errForeign means that a document is not as this package writes them.
var errForeign = errors.New("firestore: a document that the gateway did not write")

// encode returns the document that a create or replace stores.
func (d *Driver) encode(c docstore.Collection, w *docstore.Write) *firestorepb.Document {
	fields := make(map[string]*firestorepb.Value, len(w.Fields)+3)
	for name, v := range w.Fields {
		fields[name] = value(v)
	}
	fields[fieldData] = &firestorepb.Value{ValueType: &firestorepb.Value_BytesValue{BytesValue: w.Data}}
	fields[fieldRev] = value(int64(w.Version))
	if at, ok := w.Fields[c.Expires].(int64); ok {
		fields[fieldExpireTime] = &firestorepb.Value{ValueType: &firestorepb.Value_TimestampValue{TimestampValue: expireTime(at)}}
	}
	return &firestorepb.Document{Name: d.path(w.Key), Fields: fields}
}

// The range of Firestore's timestamps, in Unix microseconds.
const (
	minMicros = -62135596800 * 1e6   // 0001-01-01T00:00:00Z
	maxMicros = 253402300800*1e6 - 1 // 9999-12-31T23:59:59.999999Z
)

// expireTime is a time in microseconds as a timestamp; one out of their range
// is the nearest there is.
func expireTime(micros int64) *timestamppb.Timestamp {
	return timestamppb.New(time.UnixMicro(max(minMicros, min(maxMicros, micros))))
}

// value is a declared field's value, an int64 or a string.
func value(v any) *firestorepb.Value {
	switch v := v.(type) {
	case int64:
		return &firestorepb.Value{ValueType: &firestorepb.Value_IntegerValue{IntegerValue: v}}
	case string:
		return &firestorepb.Value{ValueType: &firestorepb.Value_StringValue{StringValue: v}}
	default:
		return &firestorepb.Value{ValueType: &firestorepb.Value_NullValue{}}
	}
}

// decode returns the stored document. A field that is not declared belongs to
// another version of the schema and is left out.
func decode(c docstore.Collection, stored *firestorepb.Document) (docstore.Doc, error) {
	doc := docstore.Doc{
		Key:     docstore.Key{Collection: c.Name, ID: stored.GetName()[strings.LastIndexByte(stored.GetName(), '/')+1:]},
		Version: version(stored.GetUpdateTime()),
		Fields:  make(docstore.Fields, len(c.Fields)),
	}
	if doc.Version == 0 {
		return docstore.Doc{}, fmt.Errorf("%w: %s has no update time", errForeign, c.Name)
	}
	data, ok := stored.GetFields()[fieldData].GetValueType().(*firestorepb.Value_BytesValue)
	if !ok {
		return docstore.Doc{}, fmt.Errorf("%w: %s/%.64s has no data", errForeign, c.Name, doc.Key.ID)
	}
	doc.Data = data.BytesValue
	for _, f := range c.Fields {
		v, ok := stored.GetFields()[f.Name]
		if !ok {
			continue
		}
		if doc.Fields[f.Name], ok = declared(f.Kind, v); !ok {
			return docstore.Doc{}, fmt.Errorf("%w: %s/%.64s: field %s", errForeign, c.Name, doc.Key.ID, f.Name)
		}
	}
	return doc, nil
}

// declared is a stored value of the declared kind.
func declared(kind docstore.Kind, v *firestorepb.Value) (any, bool) {
	switch v := v.GetValueType().(type) {
	case *firestorepb.Value_IntegerValue:
		return v.IntegerValue, kind == docstore.Int
	case *firestorepb.Value_StringValue:
		return v.StringValue, kind == docstore.String
	}
	return nil, false
}

// version is an update time, which Firestore keeps in microseconds; 0 for none.
func version(at *timestamppb.Timestamp) docstore.Version {
	if at == nil {
		return 0
	}
	return docstore.Version(at.AsTime().UnixMicro())
}

// updateTime is the update time that a version stands for.
func updateTime(v docstore.Version) *timestamppb.Timestamp {
	return timestamppb.New(time.UnixMicro(int64(v)))
}
