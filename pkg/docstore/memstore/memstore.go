package memstore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"codexgateway.dev/pkg/docstore"
)

// Store is a driver whose documents live in a map. One lock makes every call
// atomic; a query walks its whole collection.
type Store struct {
	schema docstore.Schema

	mu     sync.RWMutex
	docs   map[string]map[string]docstore.Doc // collection → id → document
	last   docstore.Version                   // one counter for all: no version ever comes back
	closed bool
}

var _ docstore.Driver = (*Store)(nil)

// New returns an empty store of the schema.
func New(schema docstore.Schema) *Store {
	s := &Store{schema: schema, docs: make(map[string]map[string]docstore.Doc, len(schema))}
	for _, c := range schema {
		s.docs[c.Name] = make(map[string]docstore.Doc)
	}
	return s
}

// enter reports why a call cannot be served; the caller holds the lock.
func (s *Store) enter(ctx context.Context) error {
	if s.closed {
		return fmt.Errorf("%w: closed", docstore.ErrUnavailable)
	}
	return ctx.Err()
}

// Get implements [docstore.Driver].
func (s *Store) Get(ctx context.Context, key docstore.Key) (docstore.Doc, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.enter(ctx); err != nil {
		return docstore.Doc{}, fmt.Errorf("memory get: %w", err)
	}
	doc, ok := s.docs[key.Collection][key.ID]
	if !ok {
		return docstore.Doc{}, docstore.ErrNotFound
	}
	return clone(doc), nil
}

// Query implements [docstore.Driver].
func (s *Store) Query(ctx context.Context, q docstore.Query) (docstore.Page, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.enter(ctx); err != nil {
		return docstore.Page{}, fmt.Errorf("memory query: %w", err)
	}
	c, _ := s.schema.Collection(q.Collection)
	ix, ok := c.Index(q.Index)
	if !ok {
		return docstore.Page{}, fmt.Errorf("%w: index %s.%s", docstore.ErrInvalid, q.Collection, q.Index)
	}
	var after *docstore.Position
	if q.Cursor != "" {
		kind, _ := c.Kind(ix.Order)
		at, err := docstore.DecodeCursor(q, kind)
		if err != nil {
			return docstore.Page{}, err
		}
		after = &at
	}
	var found []docstore.Doc
	for _, doc := range s.docs[q.Collection] {
		if matches(&doc, &ix, &q) && (after == nil || past(position(&doc, &ix), *after, q.Desc)) {
			found = append(found, doc)
		}
	}
	slices.SortFunc(found, func(a, b docstore.Doc) int {
		return order(position(&a, &ix), position(&b, &ix), q.Desc)
	})
	return page(found, &ix, &q), nil
}

// matches reports whether the index holds the document under the query's values.
func matches(doc *docstore.Doc, ix *docstore.Index, q *docstore.Query) bool {
	for i, f := range ix.Equal {
		if v, ok := doc.Fields[f]; !ok || v != q.Equal[i] {
			return false
		}
	}
	v, ok := doc.Fields[ix.Order]
	return ok && (q.From == nil || compare(v, q.From) >= 0) && (q.To == nil || compare(v, q.To) < 0)
}

// page cuts the documents to the limit, by count and by bytes. A full page has a
// Next whether or not anything follows, as on the platforms that do not look.
func page(found []docstore.Doc, ix *docstore.Index, q *docstore.Query) docstore.Page {
	var p docstore.Page
	size := 0
	for i := range found {
		size += len(found[i].Data)
		if i > 0 && size > docstore.MaxPageBytes {
			p.Next = docstore.EncodeCursor(*q, position(&found[i-1], ix))
			break
		}
		p.Docs = append(p.Docs, clone(found[i]))
		if len(p.Docs) == q.Limit {
			p.Next = docstore.EncodeCursor(*q, position(&found[i], ix))
			break
		}
	}
	return p
}

// Commit implements [docstore.Driver].
func (s *Store) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.enter(ctx); err != nil {
		return nil, fmt.Errorf("memory commit: %w", err)
	}
	for i := range writes {
		docs, ok := s.docs[writes[i].Key.Collection]
		if !ok {
			return nil, fmt.Errorf("%w: collection %q", docstore.ErrInvalid, writes[i].Key.Collection)
		}
		// A document that is not there has version 0, which is what a create asks for.
		if docs[writes[i].Key.ID].Version != writes[i].Version {
			return nil, fmt.Errorf("memory commit: %w", &docstore.ConflictError{Key: writes[i].Key, Index: i})
		}
	}
	versions := make([]docstore.Version, len(writes))
	for i := range writes {
		w := &writes[i]
		if w.Op == docstore.Delete {
			delete(s.docs[w.Key.Collection], w.Key.ID)
			continue
		}
		s.last++
		versions[i] = s.last
		s.docs[w.Key.Collection][w.Key.ID] = clone(docstore.Doc{
			Key: w.Key, Version: s.last, Fields: w.Fields, Data: w.Data,
		})
	}
	return versions, nil
}

// Ping implements [docstore.Driver].
func (s *Store) Ping(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.enter(ctx)
}

// Close implements [docstore.Driver].
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// clone copies a document: its bytes belong to whoever has it.
func clone(doc docstore.Doc) docstore.Doc {
	doc.Data, doc.Fields = slices.Clone(doc.Data), maps.Clone(doc.Fields)
	return doc
}

func position(doc *docstore.Doc, ix *docstore.Index) docstore.Position {
	return docstore.Position{Order: doc.Fields[ix.Order], ID: doc.Key.ID}
}

// order is the order of a query: by value, ties by id, in one direction.
func order(a, b docstore.Position, desc bool) int {
	c := cmp.Or(compare(a.Order, b.Order), cmp.Compare(a.ID, b.ID))
	if desc {
		return -c
	}
	return c
}

// past reports whether a position is on a later page than the one that ended at.
func past(p, at docstore.Position, desc bool) bool { return order(p, at, desc) > 0 }

// compare orders two values of one kind; strings by their bytes.
func compare(a, b any) int {
	if x, ok := a.(int64); ok {
		y, _ := b.(int64)
		return cmp.Compare(x, y)
	}
	x, _ := a.(string)
	y, _ := b.(string)
	return cmp.Compare(x, y)
}
