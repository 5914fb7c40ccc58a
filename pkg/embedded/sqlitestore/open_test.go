package sqlitestore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/docstore"
)

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want error
	}{
		"a text file": {
			func(t *testing.T, path string) {
				t.Helper()
				write(t, path, bytes.Repeat([]byte("no database\n"), 1000))
			}, ErrCorrupt,
		},
		"another program's database": {
			func(t *testing.T, path string) {
				t.Helper()
				db := raw(t, path)
				mustExec(t, db, "CREATE TABLE notes (text)")
				_ = db.Close()
			}, ErrForeign,
		},
		"another program's empty database": {
			func(t *testing.T, path string) {
				t.Helper()
				db := raw(t, path)
				mustExec(t, db, "PRAGMA application_id = 7")
				_ = db.Close()
			}, ErrForeign,
		},
		"a newer layout": {
			func(t *testing.T, path string) {
				t.Helper()
				closeStore(t, mustOpen(t, path, plainSchema))
				db := raw(t, path)
				mustExec(t, db, "PRAGMA user_version = %d", layout+1)
				_ = db.Close()
			}, ErrNewer,
		},
		"a schema page overwritten": {
			func(t *testing.T, path string) {
				t.Helper()
				closeStore(t, mustOpen(t, path, plainSchema))
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				copy(data[100:4096], bytes.Repeat([]byte{0xa5}, 4096))
				write(t, path, data)
			}, ErrCorrupt,
		},
		"a field of another kind": {
			func(t *testing.T, path string) {
				t.Helper()
				schema := docstore.Schema{{Name: "docs", Fields: []docstore.Field{{Name: "rank", Kind: docstore.String}}}}
				closeStore(t, mustOpen(t, path, schema))
			}, ErrSchema,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "docs.db")
			c.make(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Open(t.Context(), path, plainSchema, Options{})
			var file *FileError
			if !errors.Is(err, c.want) || !errors.As(err, &file) || file.Path != path {
				t.Fatalf("open: %v, want %v of the path", err, c.want)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Fatalf("open changed the file, %v", err)
			}
		})
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func closeStore(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Damage in the middle of the file is found by the call that reads it.
func TestDamageIsReportedByTheReadThatMeetsIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "docs.db")
	s := mustOpen(t, path, plainSchema)
	for i := range 50 {
		mustCommit(t, s, create(strings.Repeat("d", i+1), 3000))
	}
	closeStore(t, s)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := 4096; page < len(data); page += 4096 { // every page but the schema's
		copy(data[page:], bytes.Repeat([]byte{0xa5}, 16))
	}
	write(t, path, data)
	s, err = Open(t.Context(), path, plainSchema, Options{})
	if err == nil {
		defer closeStore(t, s)
		_, err = s.Get(t.Context(), key("d"))
		if !errors.Is(err, docstore.ErrUnavailable) {
			t.Errorf("get: %v, want unavailable", err)
		}
	}
	if !errors.Is(err, ErrCorrupt) {
		t.Fatalf("%v, want ErrCorrupt", err)
	}
}

func TestOpenMakesAPrivateFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b?c#d%20e", "docs.db")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, path, plainSchema)
	defer closeStore(t, s)
	mustCommit(t, s, create("a", 1))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("docs.db%s has mode %v", suffix, info.Mode())
		}
	}
}

func TestOpenSetsDurability(t *testing.T) {
	t.Parallel()
	s := newStore(t, plainSchema)
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000", "mmap_size": "0",
		"wal_autocheckpoint": "1000", "journal_size_limit": "8388608", "cache_size": "-4096",
	} {
		if got := text(t, s.writer.conn, "PRAGMA "+pragma); got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
	if _, err := s.reads.ExecContext(t.Context(), "DELETE FROM doc_docs"); err == nil {
		t.Error("a reader's connection can write")
	}
}

func TestSchemaGrowsOnAnExistingFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "docs.db")
	old := docstore.Schema{{
		Name:    "docs",
		Fields:  []docstore.Field{{Name: "owner", Kind: docstore.String}, {Name: "size", Kind: docstore.Int}},
		Indexes: []docstore.Index{{Name: "by_rank", Order: "size"}, {Name: "gone", Order: "owner"}},
	}}
	s := mustOpen(t, path, old)
	v := mustCommit(t, s, []docstore.Write{{
		Op: docstore.Create, Key: key("old"), Data: []byte("data"),
		Fields: docstore.Fields{"owner": "o", "size": int64(1)},
	}})
	closeStore(t, s)

	grown := append(docstore.Schema{{Name: "more"}}, plainSchema...)
	for range 2 { // the second time there is nothing to do
		s = mustOpen(t, path, grown)
		got, err := s.Get(t.Context(), key("old"))
		want := docstore.Doc{
			Key: key("old"), Version: v[0], Data: []byte("data"), Fields: docstore.Fields{"owner": "o"},
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
		q := docstore.Query{Collection: "docs", Index: "by_rank", Equal: []any{"o"}}
		if docs := all(t, s, q); len(docs) != 0 {
			t.Fatalf("%d documents by a field that none has", len(docs))
		}
		w := mustCommit(t, s, []docstore.Write{{
			Op: docstore.Replace, Key: key("old"), Version: v[0], Data: []byte("data"),
			Fields: docstore.Fields{"owner": "o", "rank": int64(1)},
		}})
		if docs := all(t, s, q); len(docs) != 1 {
			t.Fatalf("%d documents by the new index, want 1", len(docs))
		}
		v = mustCommit(t, s, []docstore.Write{{
			Op: docstore.Replace, Key: key("old"), Version: w[0], Data: []byte("data"), Fields: docstore.Fields{"owner": "o"},
		}})
		if got := text(t, s.reads, "SELECT group_concat(name) FROM sqlite_schema WHERE type='index' AND sql IS NOT NULL"); got != "docs.by_rank" {
			t.Fatalf("indexes %s", got)
		}
		closeStore(t, s)
	}
	// An older version finds its fields again.
	s = mustOpen(t, path, old)
	defer closeStore(t, s)
	if _, err := s.Get(t.Context(), key("old")); err != nil {
		t.Fatal(err)
	}
}

// A schema that is already there must not cost a write: a full disk would keep
// the gateway from starting.
func TestOpenOfAnUnchangedFileWritesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "docs.db")
	closeStore(t, mustOpen(t, path, plainSchema))
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, mustOpen(t, path, plainSchema))
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Fatalf("the file changed, %v", err)
	}
}

// A copy of a running store may lack the -shm file; a killed first start leaves
// an empty file.
func TestOpenAfterInterruptedStarts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "docs.db")
	s := mustOpen(t, path, plainSchema)
	mustCommit(t, s, create("a", 10))
	copied := filepath.Join(t.TempDir(), "docs.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		write(t, copied+suffix, data)
	}
	closeStore(t, s)
	s = mustOpen(t, copied, plainSchema)
	if _, err := s.Get(t.Context(), key("a")); err != nil {
		t.Error(err)
	}
	closeStore(t, s)

	empty := filepath.Join(t.TempDir(), "docs.db")
	write(t, empty, nil)
	closeStore(t, mustOpen(t, empty, plainSchema))
}

func TestCloseLeavesOneFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "docs.db")
	s := mustOpen(t, path, plainSchema)
	mustCommit(t, s, create("a", 10))
	all(t, s, docstore.Query{Collection: "docs", Index: "by_rank", Equal: []any{"o"}})
	closeStore(t, s)
	names, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{path}, names); diff != "" {
		t.Fatal(diff)
	}
}
