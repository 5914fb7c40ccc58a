package sqlitestore

import (
	"math"
	"strings"

	"codexgateway.dev/pkg/docstore"
)

// table is a collection as SQLite has it, with the statements over it. Names
// come from a validated schema (lower-case letters, digits, underscore), so that
// they can be quoted without escaping.
type table struct {
	collection docstore.Collection
	insert     string
	update     string
	remove     string
	get        string
	// list is the start of every query: its columns are id, version, data, fields.
	list string
}

func newTable(c docstore.Collection) *table {
	name := tableName(c)
	var columns, marks, sets strings.Builder
	for _, f := range c.Fields {
		columns.WriteString(", " + column(f.Name))
		marks.WriteString(", ?")
		sets.WriteString(", " + column(f.Name) + " = ?")
	}
	return &table{
		collection: c,
		insert: "INSERT INTO " + name + " (version, id, data" + columns.String() + ") VALUES (?, ?, ?" +
			marks.String() + ") ON CONFLICT (id) DO NOTHING",
		update: "UPDATE " + name + " SET version = ?, data = ?" + sets.String() + " WHERE id = ? AND version = ?",
		remove: "DELETE FROM " + name + " WHERE id = ? AND version = ?",
		get:    "SELECT id, version, data" + columns.String() + " FROM " + name + " WHERE id = ?",
		list:   "SELECT id, version, data" + columns.String() + " FROM " + name,
	}
}

func tableName(c docstore.Collection) string { return `"doc_` + c.Name + `"` }

func column(field string) string { return `"f_` + field + `"` }

func indexName(c docstore.Collection, ix docstore.Index) string { return c.Name + "." + ix.Name }

func sqlType(k docstore.Kind) string {
	if k == docstore.Int {
		return "INTEGER"
	}
	return "TEXT"
}

// createTable keeps the fields before the data: SQLite reads a row from its
// front, and a large document lies in a chain of overflow pages. The table has a
// rowid, so that new documents go to its end whatever their id; a table ordered
// by random ids of large rows would split pages everywhere.
func createTable(c docstore.Collection) string {
	var b strings.Builder
	b.WriteString("CREATE TABLE " + tableName(c) + " (id TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL")
	for _, f := range c.Fields {
		b.WriteString(", " + column(f.Name) + " " + sqlType(f.Kind))
	}
	b.WriteString(", data BLOB NOT NULL) STRICT")
	return b.String()
}

func addColumn(c docstore.Collection, f docstore.Field) string {
	return "ALTER TABLE " + tableName(c) + " ADD COLUMN " + column(f.Name) + " " + sqlType(f.Kind)
}

// createIndex is compared with the text in the file to find changed declarations.
func createIndex(c docstore.Collection, ix docstore.Index) string {
	var b strings.Builder
	b.WriteString(`CREATE INDEX "` + indexName(c, ix) + `" ON ` + tableName(c) + " (")
	for _, f := range ix.Equal {
		b.WriteString(column(f) + ", ")
	}
	b.WriteString(column(ix.Order) + ", id)")
	return b.String()
}

// plan is what decides the text of a query's statement.
type plan struct {
	collection, index string
	desc, to, cursor  bool
}

// query returns the statement of a plan; args gives its arguments. There is
// always a lower bound, the least value if nothing else: it skips documents
// without the order field, whose NULL sorts first.
func (t *table) query(ix docstore.Index, p plan) string {
	order := column(ix.Order)
	var b strings.Builder
	b.WriteString(t.list + ` INDEXED BY "` + indexName(t.collection, ix) + `" WHERE `)
	for _, f := range ix.Equal {
		b.WriteString(column(f) + " = ? AND ")
	}
	switch {
	case p.cursor && !p.desc:
		b.WriteString("(" + order + ", id) > (?, ?)")
	default:
		b.WriteString(order + " >= ?")
	}
	switch {
	case p.cursor && p.desc:
		b.WriteString(" AND (" + order + ", id) < (?, ?)")
	case p.to:
		b.WriteString(" AND " + order + " < ?")
	}
	direction := " ASC"
	if p.desc {
		direction = " DESC"
	}
	b.WriteString(" ORDER BY " + order + direction + ", id" + direction + " LIMIT ?")
	return b.String()
}

// args returns the arguments of the query's statement. A cursor lies within the
// query's bounds, so it takes the place of the one it is tighter than.
func (p plan) args(q docstore.Query, kind docstore.Kind, at docstore.Position, limit int) []any {
	args := make([]any, 0, len(q.Equal)+5)
	args = append(args, q.Equal...)
	switch {
	case p.cursor && !p.desc:
		args = append(args, at.Order, at.ID)
	case q.From != nil:
		args = append(args, q.From)
	case kind == docstore.Int:
		args = append(args, int64(math.MinInt64))
	default:
		args = append(args, "")
	}
	switch {
	case p.cursor && p.desc:
		args = append(args, at.Order, at.ID)
	case p.to:
		args = append(args, q.To)
	}
	return append(args, limit)
}
