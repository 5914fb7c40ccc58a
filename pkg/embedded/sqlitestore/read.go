package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"codexgateway.dev/pkg/docstore"
)

// Get implements [docstore.Driver].
func (s *Store) Get(ctx context.Context, key docstore.Key) (docstore.Doc, error) {
	if err := s.enter(); err != nil {
		return docstore.Doc{}, err
	}
	defer s.life.RUnlock()
	stmt := s.get[key.Collection]
	if stmt == nil {
		return docstore.Doc{}, fmt.Errorf("%w: collection %q", docstore.ErrInvalid, key.Collection)
	}
	if err := s.acquire(ctx); err != nil {
		return docstore.Doc{}, fmt.Errorf("sqlite get: %w", err)
	}
	defer s.release()
	into := newScanner(s.tables[key.Collection].collection)
	// Having the place, a point read takes microseconds; watching the context
	// meanwhile would take two goroutines and as long again.
	err := stmt.QueryRowContext(context.WithoutCancel(ctx), key.ID).Scan(into.dest...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return docstore.Doc{}, docstore.ErrNotFound
	case err != nil:
		return docstore.Doc{}, fmt.Errorf("sqlite get: %w", translate(s.path, err))
	}
	return into.doc(), nil
}

// Query implements [docstore.Driver].
func (s *Store) Query(ctx context.Context, q docstore.Query) (docstore.Page, error) {
	if err := s.enter(); err != nil {
		return docstore.Page{}, err
	}
	defer s.life.RUnlock()
	t := s.tables[q.Collection]
	if t == nil {
		return docstore.Page{}, fmt.Errorf("%w: collection %q", docstore.ErrInvalid, q.Collection)
	}
	ix, ok := t.collection.Index(q.Index)
	if !ok {
		return docstore.Page{}, fmt.Errorf("%w: index %q", docstore.ErrInvalid, q.Index)
	}
	kind, _ := t.collection.Kind(ix.Order)
	p := plan{
		collection: q.Collection, index: q.Index, desc: q.Desc, cursor: q.Cursor != "",
		// A cursor is below the upper bound, which it replaces downwards.
		to: q.To != nil && (q.Cursor == "" || !q.Desc),
	}
	var at docstore.Position
	if p.cursor {
		var err error
		if at, err = docstore.DecodeCursor(q, kind); err != nil {
			return docstore.Page{}, err
		}
	}
	if err := s.acquire(ctx); err != nil {
		return docstore.Page{}, fmt.Errorf("sqlite query: %w", err)
	}
	defer s.release()
	stmt, err := s.statement(ctx, t, ix, p)
	if err != nil {
		return docstore.Page{}, fmt.Errorf("sqlite query: %w", translate(s.path, err))
	}
	// One more than asked tells whether there is another page.
	page, err := collect(ctx, stmt, p.args(q, kind, at, q.Limit+1), t, ix, q)
	if err != nil {
		return docstore.Page{}, fmt.Errorf("sqlite query: %w", translate(s.path, err))
	}
	return page, nil
}

// collect runs the statement until the page is full, by count or by bytes.
func collect(ctx context.Context, stmt *sql.Stmt, args []any, t *table, ix docstore.Index, q docstore.Query) (docstore.Page, error) {
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return docstore.Page{}, err
	}
	defer rows.Close()
	var page docstore.Page
	into := newScanner(t.collection)
	size := 0
	for rows.Next() {
		if err := rows.Scan(into.dest...); err != nil {
			return docstore.Page{}, err
		}
		size += len(into.data)
		if n := len(page.Docs); n == q.Limit || n > 0 && size > docstore.MaxPageBytes {
			last := page.Docs[n-1]
			page.Next = docstore.EncodeCursor(q, docstore.Position{Order: last.Fields[ix.Order], ID: last.Key.ID})
			return page, nil
		}
		page.Docs = append(page.Docs, into.doc())
	}
	return page, rows.Err()
}

// statement returns the prepared statement of a plan. There are at most six for
// each declared index, so they are kept until the store closes.
func (s *Store) statement(ctx context.Context, t *table, ix docstore.Index, p plan) (*sql.Stmt, error) {
	s.mu.Lock()
	stmt := s.queries[p]
	s.mu.Unlock()
	if stmt != nil {
		return stmt, nil
	}
	// Prepared without the lock, which every query takes: preparing waits for a
	// free connection.
	stmt, err := s.reads.PrepareContext(ctx, t.query(ix, p))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.queries[p]; other != nil {
		return other, stmt.Close()
	}
	s.queries[p] = stmt
	return stmt, nil
}

// scanner reads rows of one collection into documents.
type scanner struct {
	collection docstore.Collection
	id         string
	version    int64
	data       []byte
	fields     []any
	dest       []any
}

func newScanner(c docstore.Collection) *scanner {
	sc := &scanner{collection: c, fields: make([]any, len(c.Fields))}
	sc.dest = make([]any, 0, 3+len(c.Fields))
	sc.dest = append(sc.dest, &sc.id, &sc.version, &sc.data)
	for i := range sc.fields {
		sc.dest = append(sc.dest, &sc.fields[i])
	}
	return sc
}

// doc returns the scanned row. Scan gives every row a data slice of its own.
func (sc *scanner) doc() docstore.Doc {
	doc := docstore.Doc{
		Key:     docstore.Key{Collection: sc.collection.Name, ID: sc.id},
		Version: docstore.Version(sc.version),
		Data:    sc.data,
	}
	if len(sc.fields) > 0 {
		doc.Fields = make(docstore.Fields, len(sc.fields))
	}
	for i, v := range sc.fields {
		if v != nil {
			doc.Fields[sc.collection.Fields[i].Name] = v
		}
	}
	return doc
}
