package firestoredocs_test

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/gcp/firestoredocs"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares v, as JSON, with a file; -update writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	// protojson puts spaces at random: what it wrote is written again.
	var v any
	if err := json.Unmarshal(got, &v); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func goldenMessage(t *testing.T, file string, m proto.Message) {
	t.Helper()
	got, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, file, got)
}

func TestACommitOnTheWire(t *testing.T) {
	t.Parallel()
	now := timestamppb.New(time.UnixMicro(1_700_000_000_000_001))
	f := &fake{results: []*firestorepb.WriteResult{{UpdateTime: now}, {UpdateTime: now}, {}}}
	d := serve(t, f, firestoredocs.Config{})
	versions, err := d.Commit(t.Context(), []docstore.Write{
		{
			Op: docstore.Create, Key: thing("new"), Data: []byte("bytes"),
			Fields: docstore.Fields{"owner": "o", "rank": int64(7), "expires_at": int64(1_700_000_000_123_456)},
		},
		{Op: docstore.Replace, Key: thing("old"), Version: 1_600_000_000_654_321, Data: []byte("more")},
		{Op: docstore.Delete, Key: thing("gone"), Version: 1_600_000_000_654_322},
	})
	if diff := cmp.Diff([]docstore.Version{1_700_000_000_000_001, 1_700_000_000_000_001, 0}, versions); err != nil || diff != "" {
		t.Fatalf("versions (-want +got):\n%s%v", diff, err)
	}
	goldenMessage(t, "commit.json", f.commit)
}

func TestAnExpiryBeyondFirestoresTimesIsTheNearest(t *testing.T) {
	t.Parallel()
	f := &fake{results: []*firestorepb.WriteResult{{UpdateTime: timestamppb.Now()}}}
	d := serve(t, f, firestoredocs.Config{})
	for at, want := range map[int64]string{
		math.MinInt64: "0001-01-01T00:00:00Z",
		-1:            "1969-12-31T23:59:59.999999Z",
		math.MaxInt64: "9999-12-31T23:59:59.999999Z",
	} {
		w := docstore.Write{Op: docstore.Create, Key: thing("a"), Fields: docstore.Fields{"expires_at": at}}
		if _, err := d.Commit(t.Context(), []docstore.Write{w}); err != nil {
			t.Fatal(err)
		}
		stamp := f.commit.GetWrites()[0].GetUpdate().GetFields()["expire_time"].GetTimestampValue()
		if got := stamp.AsTime().Format(time.RFC3339Nano); stamp.CheckValid() != nil || got != want {
			t.Errorf("%d expires at %s, want %s", at, got, want)
		}
	}
}

func TestAQueryOnTheWire(t *testing.T) {
	t.Parallel()
	doc := stored(thing("a"), 1, map[string]*firestorepb.Value{
		"data":  bytesValue(),
		"owner": {ValueType: &firestorepb.Value_StringValue{StringValue: "o"}},
		"rank":  {ValueType: &firestorepb.Value_IntegerValue{IntegerValue: 7}},
	})
	f := &fake{docs: map[string]*firestorepb.Document{doc.GetName(): doc}}
	d := serve(t, f, firestoredocs.Config{})
	q := byRank(1)
	q.From, q.To, q.Desc = int64(5), int64(9), true
	page, err := d.Query(t.Context(), q)
	if err != nil || len(page.Docs) != 1 || page.Next == "" {
		t.Fatalf("a full page: %d documents, next %q, %v", len(page.Docs), page.Next, err)
	}
	// The limit is the query's own: one more would be one more billed read.
	goldenMessage(t, "query.json", f.query)
	q.Cursor = page.Next
	if _, err := d.Query(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	goldenMessage(t, "query_next.json", f.query)
	q.Cursor, q.Limit = "", 2
	if page, err = d.Query(t.Context(), q); err != nil || page.Next != "" {
		t.Fatalf("a page that is not full: next %q, %v", page.Next, err)
	}
}

func TestEveryCallToAnEmulatorIsItsOwners(t *testing.T) {
	t.Parallel()
	f := &fake{results: []*firestorepb.WriteResult{{UpdateTime: timestamppb.Now()}}}
	d := serve(t, f, firestoredocs.Config{Database: "named"})
	_, _ = d.Get(t.Context(), thing("a"))
	_, _ = d.Query(t.Context(), byRank(1))
	_ = d.Ping(t.Context())
	_, err := d.Commit(t.Context(), []docstore.Write{{Op: docstore.Create, Key: thing("a")}})
	if err != nil || len(f.headers) != 4 {
		t.Fatalf("%d calls, %v", len(f.headers), err)
	}
	for _, md := range f.headers {
		if got := md.Get("authorization"); !slices.Equal(got, []string{"Bearer owner"}) {
			t.Errorf("authorization %q", got)
		}
		// The service finds the database by it.
		if got := md.Get("x-goog-request-params"); len(got) != 1 || !strings.Contains(got[0], "databases%2Fnamed") {
			t.Errorf("x-goog-request-params %q", got)
		}
	}
	if got := f.commit.GetDatabase(); got != "projects/p/databases/named" {
		t.Errorf("database %s", got)
	}
	if got := f.commit.GetWrites()[0].GetUpdate().GetName(); got != "projects/p/databases/named/documents/things/a" {
		t.Errorf("document %s", got)
	}
}

func TestTheRealServiceIsNotAnsweredForByTheEnvironment(t *testing.T) {
	// The driver is told where to go by its Config alone.
	t.Setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
	f := &fake{}
	d := openConfig(t, firestoredocs.Config{Project: fakeProject, Options: []option.ClientOption{
		option.WithEndpoint(fakeAddr), option.WithoutAuthentication(), listen(t, f),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}}, fakeSchema)
	if err := d.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.headers[0].Get("authorization"); len(got) != 0 {
		t.Errorf("authorization %q", got)
	}
}

func TestOpenRefusesWhatFirestoreCannotHold(t *testing.T) {
	t.Parallel()
	text := make([]docstore.Field, 0, 6)
	wide := docstore.Index{Name: "wide", Order: "f5"}
	for _, f := range []string{"f0", "f1", "f2", "f3", "f4"} {
		text, wide.Equal = append(text, docstore.Field{Name: f, Kind: docstore.String}), append(wide.Equal, f)
	}
	text = append(text, docstore.Field{Name: "f5", Kind: docstore.Int})
	narrow := wide
	narrow.Equal = wide.Equal[:4]
	many := make(docstore.Schema, 0, 101)
	for i := range cap(many) { // two exemptions each
		many = append(many, docstore.Collection{Name: "c" + strings.Repeat("x", i%10) + strings.Repeat("y", i/10)})
	}
	for name, c := range map[string]struct {
		cfg    firestoredocs.Config
		schema docstore.Schema
		ok     bool
	}{
		"no project":       {firestoredocs.Config{}, fakeSchema, false},
		"invalid schema":   {firestoredocs.Config{Project: "p"}, docstore.Schema{{}}, false},
		"wide index":       {firestoredocs.Config{Project: "p"}, docstore.Schema{{Name: "c", Fields: text, Indexes: []docstore.Index{wide}}}, false},
		"many collections": {firestoredocs.Config{Project: "p"}, many, false},
		"four strings":     {firestoredocs.Config{Project: "p"}, docstore.Schema{{Name: "c", Fields: text, Indexes: []docstore.Index{narrow}}}, true},
		"100 collections":  {firestoredocs.Config{Project: "p"}, many[:100], true},
	} {
		c.cfg.Emulator = "127.0.0.1:1"
		d, err := firestoredocs.Open(t.Context(), c.cfg, c.schema)
		if c.ok {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if err := d.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		is(t, name, err, docstore.ErrInvalid)
	}
}
