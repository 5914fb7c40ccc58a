package docstoretest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"codexgateway.dev/pkg/docstore"
)

// Features declares in what a platform may differ; the zero value is the full
// suite, which the embedded platform passes.
type Features struct {
	// Racers is how many goroutines race for one document; 0 means 50. An
	// emulator that serves contended writes slowly declares fewer.
	Racers int
	// Rounds is how often each race is run; 0 means 10.
	Rounds int
	// CommitBytes is how much data one commit takes; 0 means
	// docstore.MaxCommitBytes. An emulator whose requests are bounded lower than
	// those of its service declares less.
	CommitBytes int
}

// schema is what the suite opens. Both collections hold a document "a" in some
// tests: ids are names within a collection.
func schema() docstore.Schema {
	return docstore.Schema{
		{
			Name: "things",
			Fields: []docstore.Field{
				{Name: "owner", Kind: docstore.String},
				{Name: "name", Kind: docstore.String},
				{Name: "rank", Kind: docstore.Int},
				{Name: "expires_at", Kind: docstore.Int},
			},
			Indexes: []docstore.Index{
				{Name: "by_rank", Equal: []string{"owner"}, Order: "rank", Read: docstore.BothWays},
				{Name: "by_name", Equal: []string{"owner"}, Order: "name", Read: docstore.BothWays},
				{Name: "by_both", Equal: []string{"owner", "rank"}, Order: "name", Read: docstore.Descending},
				{Name: "all", Order: "rank", Read: docstore.BothWays},
				{Name: "expired", Order: "expires_at"},
			},
			Expires: "expires_at",
		},
		{Name: "plain"},
	}
}

// patience is how long a call may take: the losers of a race over one document
// queue behind its winners, in an emulator on a busy machine for more than the
// store's own limit, and must still hear that they have lost.
const patience = 2 * time.Minute

// suite is one test's store.
type suite struct {
	*docstore.Store
	t        *testing.T
	driver   docstore.Driver
	features Features
}

// Run runs every case, each on a store of its own: open returns an empty one of
// the schema, which the suite closes.
func Run(t *testing.T, open func(t *testing.T, schema docstore.Schema) docstore.Driver, f Features) {
	t.Helper()
	if f.Racers == 0 {
		f.Racers = 50
	}
	if f.Rounds == 0 {
		f.Rounds = 10
	}
	if f.CommitBytes == 0 {
		f.CommitBytes = docstore.MaxCommitBytes
	}
	groups := []map[string]func(suite){
		documentCases, commitCases, raceCases, queryCases, pageCases, limitCases, endCases,
	}
	for _, cases := range groups {
		for name, run := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				d := open(t, schema())
				s, err := docstore.New(d, schema(), docstore.Options{Timeout: patience})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := s.Close(); err != nil {
						t.Errorf("close: %v", err)
					}
				})
				run(suite{Store: s, t: t, driver: d, features: f})
			})
		}
	}
}

func thing(id string) docstore.Key { return docstore.Key{Collection: "things", ID: id} }

func plain(id string) docstore.Key { return docstore.Key{Collection: "plain", ID: id} }

func create(k docstore.Key, data string) docstore.Write {
	return docstore.Write{Op: docstore.Create, Key: k, Data: []byte(data)}
}

func replace(k docstore.Key, v docstore.Version, data string) docstore.Write {
	return docstore.Write{Op: docstore.Replace, Key: k, Version: v, Data: []byte(data)}
}

func remove(k docstore.Key, v docstore.Version) docstore.Write {
	return docstore.Write{Op: docstore.Delete, Key: k, Version: v}
}

// commit commits or ends the test.
func (s suite) commit(writes ...docstore.Write) []docstore.Version {
	s.t.Helper()
	versions, err := s.Commit(s.t.Context(), writes)
	if err != nil {
		s.t.Fatalf("commit: %v", err)
	}
	if len(versions) != len(writes) {
		s.t.Fatalf("commit: %d versions for %d writes", len(versions), len(writes))
	}
	return versions
}

// want fails unless the document is as given.
func (s suite) want(want docstore.Doc) {
	s.t.Helper()
	got, err := s.Get(s.t.Context(), want.Key)
	if err != nil {
		s.t.Fatalf("get %s: %v", want.Key.ID, err)
	}
	if !bytes.Equal(want.Data, got.Data) { // compared here, for a diff of a megabyte takes minutes
		s.t.Fatalf("get %s: %d bytes of data are not the %d written", want.Key.ID, len(got.Data), len(want.Data))
	}
	want.Data, got.Data = nil, nil
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		s.t.Fatalf("get %s (-want +got):\n%s", want.Key.ID, diff)
	}
}

// wantNone fails unless there is no document.
func (s suite) wantNone(k docstore.Key) {
	s.t.Helper()
	_, err := s.Get(s.t.Context(), k)
	wantErr(s.t, "get "+k.ID, err, docstore.ErrNotFound)
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

// wantConflict fails unless err names the write.
func wantConflict(t *testing.T, err error, k docstore.Key, index int) {
	t.Helper()
	wantErr(t, "commit", err, docstore.ErrConflict)
	var conflict *docstore.ConflictError
	if !errors.As(err, &conflict) {
		t.Fatalf("commit: %v is no ConflictError", err)
	}
	if diff := cmp.Diff(docstore.ConflictError{Key: k, Index: index}, *conflict); diff != "" {
		t.Fatalf("conflict (-want +got):\n%s", diff)
	}
}

// ids reads every page of the query with the limit.
func (s suite) ids(q docstore.Query) []string {
	s.t.Helper()
	ids := []string{}
	for range 10_000 {
		page, err := s.Query(s.t.Context(), q)
		if err != nil {
			s.t.Fatalf("query: %v", err)
		}
		for _, d := range page.Docs {
			ids = append(ids, d.Key.ID)
		}
		if page.Next == "" {
			return ids
		}
		if len(page.Docs) == 0 {
			s.t.Fatal("query: an empty page with a cursor")
		}
		if q.Limit > 0 && len(page.Docs) > q.Limit {
			s.t.Fatalf("query: %d documents, limit %d", len(page.Docs), q.Limit)
		}
		q.Cursor = page.Next
	}
	s.t.Fatal("query: paging does not end")
	return nil
}

func wantIDs(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("ids (-want +got):\n%s", diff)
	}
}

// ended returns a context that is over.
func ended(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
