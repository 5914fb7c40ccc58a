package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"

	"codexgateway.dev/pkg/docstore"
)

const (
	// applicationID marks a file as ours: "CGds" in SQLite's header.
	applicationID = 0x43476473
	// layout is the version of the tables' form, in SQLite's user_version. A
	// larger one in a file is refused; a schema that only grew needs no new one.
	layout = 1
)

// identify reports what a file is: empty (fresh), ours (not fresh), or a
// *FileError. It changes nothing.
func identify(ctx context.Context, db *sql.DB, path string) (fresh bool, err error) {
	var app, version, objects int
	row := db.QueryRowContext(ctx, `SELECT
		(SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version),
		(SELECT count(*) FROM sqlite_schema)`)
	if err := row.Scan(&app, &version, &objects); err != nil {
		return false, fmt.Errorf("identify: %w", translate(path, err))
	}
	switch {
	case app == applicationID && version > layout:
		return false, &FileError{Path: path, Problem: ErrNewer}
	case app == applicationID:
		return false, nil
	case app == 0 && version == 0 && objects == 0:
		return true, nil
	default:
		return false, &FileError{Path: path, Problem: ErrForeign}
	}
}

// migrate brings the file to the schema: all in one transaction, nothing if
// nothing is missing. Collections and fields that are no longer declared stay,
// for an older version may come back; undeclared indexes go, for every write
// pays for them.
func migrate(ctx context.Context, db *sql.DB, path string, fresh bool, schema docstore.Schema) error {
	steps, err := missing(ctx, db, path, schema)
	if err != nil {
		return err
	}
	if fresh {
		steps = append([]string{
			fmt.Sprintf("PRAGMA application_id = %d", applicationID),
			fmt.Sprintf("PRAGMA user_version = %d", layout),
			"CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
			"INSERT INTO meta (key, value) VALUES ('" + versionKey + "', 1)",
		}, steps...)
	}
	if len(steps) == 0 {
		return nil
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("migrate: %w", translate(path, err))
	}
	for _, step := range steps {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			_ = tx.Rollback() // the step's error is the one that matters
			return fmt.Errorf("migrate: %w", translate(path, err))
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("migrate: %w", translate(path, err))
	}
	return nil
}

// missing returns the statements that the file lacks.
func missing(ctx context.Context, db *sql.DB, path string, schema docstore.Schema) ([]string, error) {
	columns, err := pairs(ctx, db, `SELECT '"' || m.name || '".' || t.name, t.type
		FROM sqlite_schema m, pragma_table_info(m.name) t WHERE m.type = 'table' AND m.name GLOB 'doc_*'`)
	if err != nil {
		return nil, fmt.Errorf("read columns: %w", translate(path, err))
	}
	indexes, err := pairs(ctx, db, `SELECT name, sql FROM sqlite_schema
		WHERE type = 'index' AND tbl_name GLOB 'doc_*' AND sql IS NOT NULL`)
	if err != nil {
		return nil, fmt.Errorf("read indexes: %w", translate(path, err))
	}
	var steps []string
	for _, c := range schema {
		if _, ok := columns[tableName(c)+".id"]; !ok {
			steps = append(steps, createTable(c))
		} else {
			for _, f := range c.Fields {
				switch columns[tableName(c)+".f_"+f.Name] {
				case "":
					steps = append(steps, addColumn(c, f))
				case sqlType(f.Kind):
				default:
					return nil, &FileError{
						Path: path, Problem: ErrSchema,
						Cause: fmt.Errorf("field %s of %s", f.Name, c.Name),
					}
				}
			}
		}
		for _, ix := range c.Indexes {
			want, name := createIndex(c, ix), indexName(c, ix)
			switch indexes[name] {
			case want:
			case "":
				steps = append(steps, want)
			default:
				steps = append(steps, `DROP INDEX "`+name+`"`, want)
			}
			delete(indexes, name)
		}
	}
	for name := range indexes {
		steps = append(steps, `DROP INDEX "`+name+`"`)
	}
	return steps, nil
}

// pairs reads a query of two strings as a map.
func pairs(ctx context.Context, db *sql.DB, query string) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	m := make(map[string]string)
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, err
		}
		m[k] = v
	}
	return m, rows.Err()
}
