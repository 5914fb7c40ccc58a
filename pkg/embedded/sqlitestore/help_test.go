package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"codexgateway.dev/pkg/docstore"
)

var plainSchema = docstore.Schema{{
	Name: "docs",
	Fields: []docstore.Field{
		{Name: "owner", Kind: docstore.String}, {Name: "rank", Kind: docstore.Int},
	},
	Indexes: []docstore.Index{{Name: "by_rank", Equal: []string{"owner"}, Order: "rank"}},
}}

func mustOpen(t testing.TB, path string, schema docstore.Schema) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, schema, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newStore opens a store of its own, closed with the test.
func newStore(t testing.TB, schema docstore.Schema) *Store {
	t.Helper()
	s := mustOpen(t, filepath.Join(t.TempDir(), "docs.db"), schema)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func key(id string) docstore.Key { return docstore.Key{Collection: "docs", ID: id} }

func create(id string, size int) []docstore.Write {
	return []docstore.Write{{
		Op: docstore.Create, Key: key(id), Data: make([]byte, size),
		Fields: docstore.Fields{"owner": "o", "rank": int64(size)},
	}}
}

func mustCommit(t testing.TB, s *Store, writes []docstore.Write) []docstore.Version {
	t.Helper()
	v, err := s.Commit(t.Context(), writes)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return v
}

// all reads every page of a query.
func all(t testing.TB, s *Store, q docstore.Query) []docstore.Doc {
	t.Helper()
	q.Limit = docstore.MaxPage
	var docs []docstore.Doc
	for {
		page, err := s.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, page.Docs...)
		if q.Cursor = page.Next; q.Cursor == "" {
			return docs
		}
	}
}

// raw opens the file as another program would.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := pool(dsn(path, "rwc"), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func mustExec(t testing.TB, db interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, format string, args ...any,
) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), fmt.Sprintf(format, args...)); err != nil {
		t.Fatal(err)
	}
}

func text(t testing.TB, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, query string,
) string {
	t.Helper()
	var s string
	if err := db.QueryRowContext(t.Context(), query).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func checkIntegrity(t testing.TB, path string) {
	t.Helper()
	db := raw(t, path)
	if got := text(t, db, "PRAGMA integrity_check"); got != "ok" {
		t.Fatalf("integrity check: %s", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
