package firestoredocs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"codexgateway.dev/pkg/docstore"
)

// IndexError is the cause of a query's ErrUnavailable when Firestore has no
// index for it, or is still building one. What Firestore itself says is left
// out: it is a link that names the project and encodes the index.
type IndexError struct {
	Collection, Index string
	// Desc is the direction of the query: each has an index of its own.
	Desc bool
}

// Error names the index and the remedy.
func (e *IndexError) Error() string {
	return fmt.Sprintf("the composite index of %s is missing or still being built: apply the index declarations (Terraform)", e.name())
}

func (e *IndexError) name() string {
	direction := "ascending"
	if e.Desc {
		direction = "descending"
	}
	return e.Collection + "." + e.Index + " (" + direction + ")"
}

// missing remembers one failed query of each index that Firestore lacks, so that
// Ping can say so and see when it is there. It is bounded by the schema.
type missing struct {
	mu      sync.Mutex
	queries map[string]docstore.Query
}

func (m *missing) list() []docstore.Query {
	m.mu.Lock()
	defer m.mu.Unlock()
	queries := make([]docstore.Query, 0, len(m.queries))
	for _, name := range slices.Sorted(maps.Keys(m.queries)) {
		queries = append(queries, m.queries[name])
	}
	return queries
}

// set records whether the query's index is missing and reports a change.
func (m *missing) set(name string, q docstore.Query, is bool) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, was := m.queries[name]
	switch {
	case is && !was:
		q.Limit, q.Cursor = 1, ""
		m.queries[name] = q
	case was && !is:
		delete(m.queries, name)
	}
	return is != was
}

// note keeps the record of missing indexes after a query, and logs a change of it.
func (d *Driver) note(ctx context.Context, q docstore.Query, err error) {
	_, lacks := errors.AsType[*IndexError](err)
	if err != nil && !lacks {
		return // says nothing about the index
	}
	name := (&IndexError{Collection: q.Collection, Index: q.Index, Desc: q.Desc}).name()
	switch {
	case !d.missing.set(name, q, lacks):
	case lacks:
		d.log.LogAttrs(ctx, slog.LevelWarn, "firestore_index_missing", slog.String("index", name))
	default:
		d.log.LogAttrs(ctx, slog.LevelInfo, "firestore_index_back", slog.String("index", name))
	}
}
