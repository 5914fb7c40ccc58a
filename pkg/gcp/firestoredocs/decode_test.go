package firestoredocs

import (
	"math"
	"testing"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"codexgateway.dev/pkg/docstore"
)

var things = docstore.Collection{
	Name:    "things",
	Fields:  []docstore.Field{{Name: "owner", Kind: docstore.String}, {Name: "rank", Kind: docstore.Int}, {Name: "expires_at", Kind: docstore.Int}},
	Expires: "expires_at",
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	t.Parallel()
	d := &Driver{documents: "projects/p/databases/d/documents"}
	rapid.Check(t, func(t *rapid.T) {
		w := docstore.Write{
			Op:     docstore.Replace,
			Key:    docstore.Key{Collection: "things", ID: rapid.StringMatching(`[A-Za-z0-9._:~-]{1,40}`).Draw(t, "id")},
			Fields: docstore.Fields{},
			Data:   rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
		}
		for name, v := range map[string]*rapid.Generator[any]{
			"owner": rapid.String().AsAny(), "rank": rapid.Int64().AsAny(), "expires_at": rapid.Int64().AsAny(),
		} {
			if rapid.Bool().Draw(t, "has "+name) {
				w.Fields[name] = v.Draw(t, name)
			}
		}
		w.Version = docstore.Version(rapid.Int64Range(1, math.MaxInt64/1000).Draw(t, "version"))
		stored := d.encode(things, &w)
		stored.UpdateTime = updateTime(w.Version)
		got, err := decode(things, stored)
		want := docstore.Doc{Key: w.Key, Version: w.Version, Fields: w.Fields, Data: w.Data}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("(-want +got):\n%s%v", diff, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	d := &Driver{documents: "projects/p/databases/d/documents"}
	seed := d.encode(things, &docstore.Write{
		Key: docstore.Key{Collection: "things", ID: "a"}, Data: []byte("x"), Fields: docstore.Fields{"owner": "o", "rank": int64(1)},
	})
	seed.UpdateTime = updateTime(1)
	for _, doc := range []*firestorepb.Document{seed, {}, {Name: "/"}} {
		b, err := proto.Marshal(doc)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var stored firestorepb.Document
		if proto.Unmarshal(b, &stored) != nil {
			return
		}
		doc, err := decode(things, &stored)
		if err == nil && doc.Version == 0 {
			t.Errorf("a document without a version: %v", doc)
		}
		for name, v := range doc.Fields {
			if _, ok := things.Kind(name); !ok || err == nil && v == nil {
				t.Errorf("field %s: %v", name, v)
			}
		}
	})
}
