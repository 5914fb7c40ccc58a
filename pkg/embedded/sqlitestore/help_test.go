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

func mustOpen(tb testing.TB, path string, schema docstore.Schema) *Store {
	tb.Helper()
	s, err := Open(tb.Context(), path, schema, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// newStore opens a store of its own, closed with the test.
func newStore(tb testing.TB, schema docstore.Schema) *Store {
	tb.Helper()
	s := mustOpen(tb, filepath.Join(tb.TempDir(), "docs.db"), schema)
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
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

func mustCommit(tb testing.TB, s *Store, writes []docstore.Write) []docstore.Version {
	tb.Helper()
	v, err := s.Commit(tb.Context(), writes)
	if err != nil {
		tb.Fatalf("commit: %v", err)
	}
	return v
}

// all reads every page of a query.
func all(tb testing.TB, s *Store, q docstore.Query) []docstore.Doc {
	tb.Helper()
	q.Limit = docstore.MaxPage
	var docs []docstore.Doc
	for {
		page, err := s.Query(tb.Context(), q)
		if err != nil {
			tb.Fatal(err)
		}
		docs = append(docs, page.Docs...)
		if q.Cursor = page.Next; q.Cursor == "" {
			return docs
		}
	}
}

// raw opens the file as another program would.
func raw(tb testing.TB, path string) *sql.DB {
	tb.Helper()
	db, err := pool(dsn(path, "rwc"), 1)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func mustExec(tb testing.TB, db interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, format string, args ...any,
) {
	tb.Helper()
	if _, err := db.ExecContext(tb.Context(), fmt.Sprintf(format, args...)); err != nil {
		tb.Fatal(err)
	}
}

func text(tb testing.TB, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, query string,
) string {
	tb.Helper()
	var s string
	if err := db.QueryRowContext(tb.Context(), query).Scan(&s); err != nil {
		tb.Fatal(err)
	}
	return s
}

func checkIntegrity(tb testing.TB, path string) {
	tb.Helper()
	db := raw(tb, path)
	if got := text(tb, db, "PRAGMA integrity_check"); got != "ok" {
		tb.Fatalf("integrity check: %s", got)
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
}
